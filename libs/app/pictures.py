"""Frames, thumbnails and masks as the page gets them."""

from __future__ import annotations

import struct
import threading
import zlib
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from dataset_torch.atomic import write_atomic
from dataset_torch.errors import UserError
from dataset_torch.frames import FrameSource

THUMBNAIL_HEIGHT = 120
MASK_CACHE = 64 << 20  # bytes of encoded masks


class Pictures:
    """Encoded pictures of one video.

    It reads from a frame source of its own, so that looking around does not disturb the order in which the segmenter
    decodes the video.  Thumbnails are made when asked for and kept as files.
    """

    def __init__(self, frames: FrameSource, thumbnails: Path):
        self.frames, self.thumbnails = frames, thumbnails
        self._reading = threading.Lock()  # decoders are not safe to share
        self._masks: OrderedDict[tuple, bytes] = OrderedDict()
        self._mask_bytes = 0
        self._lock = threading.Lock()

    def frame(self, index: int) -> bytes:
        """JPEG of a frame at its own size."""
        return _jpeg(self._read(index), 92)

    def thumbnail(self, index: int) -> bytes:
        """JPEG of a frame, 120 pixels high."""
        path = self.thumbnails / f"{index:06d}.jpg"
        if path.is_file():
            return path.read_bytes()
        image = self._read(index)
        width = max(1, round(image.shape[1] * THUMBNAIL_HEIGHT / image.shape[0]))
        data = _jpeg(cv2.resize(image, (width, THUMBNAIL_HEIGHT), interpolation=cv2.INTER_AREA), 80)
        write_atomic(path, data)
        return data

    def mask(self, key: tuple, make: Callable[[], np.ndarray], *, height: int | None = None) -> bytes:
        """A mask for the page: width and height as little-endian uint32, then the ids row by row; all deflated.

        `make` gives the mask, uint8 H x W, unless one is kept under `key` already; `height` scales it down.
        """
        key = (*key, height)
        with self._lock:
            if key in self._masks:
                self._masks.move_to_end(key)
                return self._masks[key]
        mask = make()
        if height is not None and height < mask.shape[0]:
            width = max(1, round(mask.shape[1] * height / mask.shape[0]))
            mask = cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST)
        data = zlib.compress(struct.pack("<II", mask.shape[1], mask.shape[0]) + mask.tobytes(), 1)
        with self._lock:
            self._mask_bytes += len(data) - len(self._masks.pop(key, b""))
            self._masks[key] = data
            while self._mask_bytes > MASK_CACHE and len(self._masks) > 1:
                self._mask_bytes -= len(self._masks.popitem(last=False)[1])
        return data

    def _read(self, index: int) -> np.ndarray:
        if not 0 <= index < len(self.frames):
            raise UserError(f"there is no frame {index}: the video has frames 0 to {len(self.frames) - 1}.")
        with self._reading:
            return self.frames.read(index)


def _jpeg(image: np.ndarray, quality: int) -> bytes:
    good, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not good:
        raise RuntimeError("OpenCV could not encode a JPEG")
    return data.tobytes()
