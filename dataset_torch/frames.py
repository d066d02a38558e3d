"""Frame sources: a video as RGB frames read on demand, from a folder of images, a video file or an array.

A source never holds the whole video: `read` decodes one frame, and a small cache keeps the last few, because the
segmenter's two directions start from the same frame.
"""

from __future__ import annotations

import abc
import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from dataset_torch.errors import UserError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
VIDEO_SUFFIXES = (
    *(".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv", ".flv", ".gif", ".ogv", ".3gp", ".ts"),
    *(".mts", ".m2ts", ".mxf", ".vob", ".y4m", ".h264", ".hevc"),
)


TAIL = 4096  # bytes at a file's end in which a JPEG's end marker must be
ORIENTATION = 274  # the EXIF tag; from 5 on the picture lies on its side


class FrameSource(abc.ABC):
    """A video of `len(source)` RGB frames, all `height` x `width`."""

    name: str
    height: int
    width: int
    frames_per_second: float = 24.0  # of a video file its own; folders and arrays do not say

    @abc.abstractmethod
    def __len__(self) -> int: ...

    @abc.abstractmethod
    def read(self, index: int) -> np.ndarray:
        """Frame `index` as uint8 height x width x 3, RGB.  Raises `UserError` when it cannot be decoded.

        May be called from two threads at once: the segmenter reads ahead in a thread of its own.
        """

    def check_index(self, index: int) -> None:
        """Raise `IndexError` unless 0 <= index < len(self)."""
        if not 0 <= index < len(self):
            raise IndexError(f"frame {index} of {self.name}: it has frames 0 to {len(self) - 1}")

    def reopened(self) -> FrameSource:
        """The same video, to be read by somebody else in another order; costs nothing where reading keeps no state."""
        return self

    def fingerprint(self) -> str:
        """A short digest of size, length, first and last frame; tells a saved session its video apart."""
        digest = hashlib.sha256(f"{len(self)} {self.height} {self.width}".encode())
        for index in sorted({0, len(self) - 1}):
            digest.update(np.ascontiguousarray(self.read(index)).tobytes())
        return digest.hexdigest()[:16]


class ImageFolder(FrameSource):
    """The images of one folder in the order of their names (numbers inside names compare as numbers)."""

    def __init__(self, folder: str | Path, *, files: list[Path] | None = None):
        self.folder = Path(folder)
        if files is None:
            if not self.folder.is_dir():
                raise UserError(f"{self.folder} is not a folder. Give the folder that holds the frames of one video.")
            files = [p for p in self.folder.iterdir() if is_picture(p)]
            files.sort(key=lambda p: natural_key(p.name))
        if not files:
            raise UserError(
                f"{self.folder} holds no images ({', '.join(IMAGE_SUFFIXES)}). A video needs at least one frame."
                + _elsewhere(self.folder)
            )
        self.files = files
        self.name = self.folder.name
        self.height, self.width = self._decode(0).shape[:2]

    def __len__(self) -> int:
        return len(self.files)

    def _decode(self, index: int) -> np.ndarray:
        path = self.files[index]
        # Bytes first, so that paths with any character work on Windows too, and a truncated file is told from none.
        try:
            data = np.frombuffer(path.read_bytes(), np.uint8)
        except OSError as error:
            raise UserError(f"frame {path} cannot be read: {error.strerror}.") from error
        if is_cut_off(path, data[-TAIL:].tobytes()):
            raise UserError(
                f"frame {path} is truncated (its JPEG end marker is missing). Restore or re-encode the file."
            )
        image = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
        if image is None:
            raise UserError(f"frame {path} cannot be decoded. Restore or re-encode the file.")
        return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)

    def read(self, index: int) -> np.ndarray:
        self.check_index(index)
        image = self._decode(index)
        if image.shape[:2] != (self.height, self.width):
            raise UserError(
                f"frame {self.files[index]} is {image.shape[1]}x{image.shape[0]}, the first frame "
                f"{self.width}x{self.height}. All frames of a video must have one size."
            )
        return image


class VideoFile(FrameSource):
    """A video file decoded by OpenCV; seeking backwards is costly, so decoded frames are kept in a small cache.

    The container's frame count is often wrong by a few, and seeking by frame number is inexact for some codecs: when
    a frame cannot be reached, the file is decoded once from its start and the count corrected.  OpenCV seeks by time,
    taking all frames for equally long: where they are not (telephones, recorded screens), the frame reached is told by
    its time, which the packets know without being decoded.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        cache_bytes: int = 256 << 20,
        cancelled: Callable[[], bool] = lambda: False,
        known: VideoFile | None = None,
    ):
        """`cancelled` is asked while frames are counted, `known` is the same file opened before: it spares counting.

        Raises `UserError` when there is no such file, when it cannot be decoded, and when it was cancelled.
        """
        self.path, self._cache_bytes = Path(path), cache_bytes
        if not self.path.is_file():
            raise UserError(f"video file {self.path} does not exist.")
        if self.path.suffix.lower() not in VIDEO_SUFFIXES:  # FFmpeg would play a text file as a film of its letters
            raise UserError(
                f"{self.path} is no video by its name. Names of videos end in {', '.join(VIDEO_SUFFIXES)}; if it "
                "is one all the same, rename it."
            )
        self.name = self.path.stem
        self._lock = threading.Lock()  # decoder, position and cache are one state
        self._capture = cv2.VideoCapture(str(self.path))
        self._cache: OrderedDict[int, np.ndarray] = OrderedDict()
        self._position = 0
        good, frame = self._capture.read() if self._capture.isOpened() else (False, None)
        if not good:
            raise UserError(f"{self.path} cannot be decoded as a video. Convert it, for example to H.264 MP4.")
        self.height, self.width = frame.shape[:2]
        self._capacity = max(4, cache_bytes // frame.nbytes)
        self._position, self._last = 1, 0  # of the decoder; the frame that was read last
        self._store(0, frame)
        self._rate = self._capture.get(cv2.CAP_PROP_FPS)  # by which OpenCV seeks; nonsense in some files
        self.frames_per_second = self._rate if 1 <= self._rate <= 1000 else FrameSource.frames_per_second
        if known is not None:
            self._count, self._times = known._count, known._times
            return
        self._count = max(1, int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT)))
        self._times = _uneven_times(self.path, self._rate, cancelled)
        if self._times is not None and len(self._times) != self._count:  # not every packet is shown
            self._times = self._decoded_times(cancelled)
            self._count = len(self._times)
        self._count = self._verified_count(cancelled)

    def __len__(self) -> int:
        return self._count

    def reopened(self) -> VideoFile:
        """The same video with a decoder and a cache of its own."""
        return VideoFile(self.path, cache_bytes=self._cache_bytes, known=self)

    def _store(self, index: int, bgr: np.ndarray) -> np.ndarray:
        rgb = cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
        self._cache[index] = rgb
        self._cache.move_to_end(index)
        while len(self._cache) > self._capacity:
            self._cache.popitem(last=False)
        return rgb

    def _verified_count(self, cancelled: Callable[[], bool]) -> int:
        """The container's count if its last frame can be decoded, else the count of a full decode."""
        if self._count == 1 or self._decode(self._count - 1) is not None:
            if not self._has_frame_after(self._count - 1):
                return self._count
        times = self._decoded_times(cancelled)
        if self._times is not None:  # those of the packets are of another number
            self._times = times
        return len(times)

    def _decoded_times(self, cancelled: Callable[[], bool]) -> np.ndarray:
        """float64 F, the time of every frame in ms, from decoding the whole file."""
        self._from_start()
        times = []
        while self._capture.grab():
            times.append(self._capture.get(cv2.CAP_PROP_POS_MSEC))
            if cancelled():
                raise UserError(f"reading {self.path} was stopped.")
        self._from_start()
        return np.array(times or [0.0])

    def _from_start(self) -> None:
        self._capture.release()
        self._capture, self._position = cv2.VideoCapture(str(self.path)), 0

    def _has_frame_after(self, index: int) -> bool:
        self._seek(index + 1)
        found = self._capture.grab()
        self._position = -1  # unknown: force a seek next time
        return found

    def _seek(self, index: int) -> None:
        # Up to 32 frames ahead, decoding on is cheaper (and always exact) than seeking to a key frame.
        if self._position < 0 or not 0 <= index - self._position <= 32:
            if self._times is not None:
                self._seek_by_time(index)
            else:
                self._capture.set(cv2.CAP_PROP_POS_FRAMES, index)
                self._position = index
        while self._position < index and self._capture.grab():
            self._position += 1

    def _seek_by_time(self, index: int) -> None:
        """To a frame before `index`, as near as the file allows; which one, its time says."""
        times = self._times
        elapsed = times[min(index, len(times) - 1)] - times[0]
        aim = int(elapsed / 1000 * self._rate) - 1  # the number that OpenCV takes for that time
        back = 32
        while aim > 0:
            self._capture.set(cv2.CAP_PROP_POS_FRAMES, aim)
            if self._capture.grab():
                off = np.abs(times - self._capture.get(cv2.CAP_PROP_POS_MSEC))
                reached = int(off.argmin())
                # Of frames with one time it may be any.
                if reached < index and np.count_nonzero(off < off[reached] + 0.5) == 1:
                    self._position = reached + 1
                    return
            aim, back = aim - back, 2 * back
        self._from_start()

    def _decode(self, index: int) -> np.ndarray | None:
        self._seek(index)
        good, frame = self._capture.read()
        self._position = index + 1 if good else -1
        return self._store(index, frame) if good else None

    def read(self, index: int) -> np.ndarray:
        self.check_index(index)
        with self._lock:
            return self._read(index)

    def _read(self, index: int) -> np.ndarray:
        if index in self._cache:
            self._cache.move_to_end(index)
            self._last = index
            return self._cache[index]
        run = min(self._capacity - 1, 24)
        if 0 < self._last - index <= 2 * run:
            # Going backwards: decode a run that ends at `index`, so that the next frames wanted are in the cache.
            for i in range(max(0, index - run), index):
                if i not in self._cache:
                    self._decode(i)
        self._last = index
        image = self._decode(index)
        if image is None:
            raise UserError(
                f"frame {index} of {self.path} cannot be decoded. Re-encode the video, or extract its frames."
            )
        return image


class ArrayFrames(FrameSource):
    """Frames that are in memory already: uint8 F x H x W x 3, RGB."""

    def __init__(self, array: np.ndarray, *, name: str = "array"):
        array = np.asarray(array)
        if array.ndim != 4 or array.shape[-1] != 3 or array.dtype != np.uint8:
            raise UserError(f"frames must be uint8 F x H x W x 3 (RGB), got {array.dtype} {array.shape}.")
        if 0 in array.shape:
            raise UserError(f"an array of shape {array.shape} holds no frames. A video needs at least one frame.")
        self.array, self.name = array, name
        self.height, self.width = array.shape[1:3]

    def __len__(self) -> int:
        return len(self.array)

    def read(self, index: int) -> np.ndarray:
        self.check_index(index)
        return self.array[index]


def is_cut_off(path: Path, tail: bytes) -> bool:
    """Whether a JPEG, by its name, was cut off: `tail`, its last `TAIL` bytes, has no end marker."""
    return path.suffix.lower() in (".jpg", ".jpeg") and b"\xff\xd9" not in tail


def is_picture(path: Path) -> bool:
    """By its name; hidden files are none (macOS leaves some beside every file that it copies)."""
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")


def upright_size(path: Path) -> tuple[int, int]:
    """Width and height of a picture as it is read: turned as the camera was held (EXIF).  From the header alone.

    Raises what Pillow raises: OSError, SyntaxError or ValueError.
    """
    with Image.open(path) as image:
        width, height = image.size
        # Of a TIFF Pillow says the upright size itself.
        turned = image.format != "TIFF" and image.getexif().get(ORIENTATION, 1) >= 5
        return (height, width) if turned else (width, height)


def _uneven_times(path: Path, rate: float, cancelled: Callable[[], bool]) -> np.ndarray | None:
    """float64 F, the time of every frame in ms, ascending, if some lie half a frame and more off an even `rate`.

    The packets are read, not decoded: a hundredth of a second for 500 frames.  `None` too where OpenCV cannot do that.
    Raises `UserError` when it was cancelled.
    """
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_FORMAT, -1])
    times = []
    while capture.isOpened() and capture.grab():
        times.append(capture.get(cv2.CAP_PROP_POS_MSEC))
        if cancelled():
            raise UserError(f"reading {path} was stopped.")
    capture.release()
    if len(times) < 2 or not rate > 0:
        return None
    times = np.sort(np.array(times))  # packets come in the order in which they are decoded
    off = times - times[0] - np.arange(len(times)) * (1000 / rate)
    return times if np.abs(off).max() >= 500 / rate else None


def _elsewhere(folder: Path) -> str:
    """What somebody may have meant who gave a folder without images: a video or a folder in it."""
    inside = sorted(p for p in folder.iterdir() if not p.name.startswith(".") and p.suffix != ".gis")
    videos = [p.name for p in inside if p.suffix.lower() in VIDEO_SUFFIXES]
    folders = [p.name for p in inside if p.is_dir()]
    names = videos or folders
    if not names:
        return ""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f" It holds {'the video' if videos else 'the folder'} {', '.join(names[:3])}{more}: give one by its path."


def natural_key(name: str) -> tuple:
    """Sort key in which `frame10` comes after `frame9`."""
    parts, number = [], ""
    for character in name:
        if character.isascii() and character.isdigit():
            number += character
            continue
        if number:
            parts.append((0, int(number), ""))
            number = ""
        parts.append((1, 0, character))
    if number:
        parts.append((0, int(number), ""))
    return tuple(parts), name


def open_frames(path: str | Path) -> FrameSource:
    """A frame source for a folder of images or a video file.  Raises `UserError` for anything else."""
    path = Path(path)
    if path.is_dir():
        return ImageFolder(path)
    if not path.exists():
        raise UserError(f"{path} does not exist. Give a video file or a folder of frames.")
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return ImageFolder(path.parent, files=[path])
    return VideoFile(path)
