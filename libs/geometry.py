"""How a frame gets into the network and a prediction back out: resizing, padding, normalising, cropping."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
import torch
from torch import Tensor

from dataset_torch.errors import UserError
from dataset_torch.masks import resize_ids

MAX_SIDE = 16384  # a sanity bound: a wrong header must not ask for terabytes


@dataclass(frozen=True)
class Geometry:
    """Sizes of one video: as filmed, as worked on, and as padded for the network (all in pixels)."""

    height: int
    width: int
    working_height: int
    working_width: int
    top: int
    bottom: int
    left: int
    right: int

    @property
    def padded_size(self) -> tuple[int, int]:
        """Height and width of everything the network sees."""
        return self.working_height + self.top + self.bottom, self.working_width + self.left + self.right

    @classmethod
    def of(
        cls,
        height: int,
        width: int,
        *,
        short_side: int | None = None,
        multiple: int = 32,
        pad_always: bool = False,
        stretch: bool = False,
    ) -> Geometry:
        """Plan a video of `height` x `width`.

        `short_side` resizes so that the shorter side has this length (`int` of the longer; spec: evaluation.md,
        YouTube-iVOS); `None` keeps the size.  With `stretch` both sides of the resized frame are rounded to multiples
        of `multiple` (5 % off at most at 288 pixels), so that the network works on no padding.  Padding goes to the
        next multiple of `multiple`, the smaller half before; `pad_always` pads a size that is a multiple already by a
        whole one more, as the published code does (section 2).
        """
        if not (1 <= height <= MAX_SIDE and 1 <= width <= MAX_SIDE):
            raise UserError(f"frames of {width}x{height} pixels cannot be worked on; sides must be 1 to {MAX_SIDE}.")
        working_height, working_width = height, width
        if short_side is not None and min(height, width) != short_side:
            if short_side < 1:
                raise UserError(f"the working size must be positive, got {short_side}.")
            scale = short_side / min(height, width)
            working_height = short_side if height <= width else int(height * scale)
            working_width = short_side if width <= height else int(width * scale)
        longest = max(working_height, working_width)
        if longest > MAX_SIDE:
            raise UserError(
                f"frames of {width}x{height} pixels at a shorter side of {short_side} are {longest} pixels long; at "
                f"most {MAX_SIDE} are possible. Choose a smaller working size (--short-side)."
            )
        if short_side is not None and stretch:
            working_height, working_width = (
                max(1, round(n / multiple)) * multiple for n in (working_height, working_width)
            )
        pads = []
        for n in (working_height, working_width):
            extra = multiple - n % multiple
            extra = 0 if extra == multiple and not pad_always else extra
            pads += [extra // 2, extra - extra // 2]
        return cls(height, width, working_height, working_width, *pads)

    def resize_image(self, image: np.ndarray, *, method: Literal["area", "cubic"] = "area") -> np.ndarray:
        """uint8 H x W x 3 at the original size -> working size.

        `area` averages when shrinking (no aliasing) and is cubic when enlarging; `cubic` is always cubic (published).
        """
        size = (self.working_width, self.working_height)
        if image.shape[1::-1] == size:
            return image
        shrink = size[0] < image.shape[1]
        return cv2.resize(image, size, interpolation=cv2.INTER_AREA if method == "area" and shrink else cv2.INTER_CUBIC)

    def resize_mask(self, mask: np.ndarray) -> np.ndarray:
        """H x W ids at the original size -> working size, the id that covers most of each pixel."""
        return resize_ids(mask, self.working_height, self.working_width)

    def pad(self, array: np.ndarray) -> np.ndarray:
        """Reflect-pad the last two axes (... x h x w at the working size) to the padded size."""
        width = [(0, 0)] * (array.ndim - 2) + [(self.top, self.bottom), (self.left, self.right)]
        return np.pad(array, width, mode="reflect")

    def crop(self, tensor: Tensor) -> Tensor:
        """Undo the padding: ... x H x W -> ... x h x w."""
        return tensor[..., self.top : self.top + self.working_height, self.left : self.left + self.working_width]

    def to_input(
        self,
        image: np.ndarray,
        mean: tuple[float, float, float],
        std: tuple[float, float, float],
        *,
        method: Literal["area", "cubic"] = "area",
    ) -> Tensor:
        """uint8 RGB H x W x 3 at the original size -> 1 x 3 x H x W float32, resized, padded, normalised."""
        pixels = self.pad(self.resize_image(image, method=method).transpose(2, 0, 1)).astype(np.float32)
        pixels /= 255  # in place: fresh memory costs more than the arithmetic
        pixels -= np.float32(mean)[:, None, None]
        pixels /= np.float32(std)[:, None, None]
        return torch.from_numpy(np.ascontiguousarray(pixels))[None]

    def to_original(self, probabilities: Tensor, *, method: Literal["bilinear", "nearest"] = "bilinear") -> Tensor:
        """C x H x W padded -> C x height x width at the original size."""
        cropped = self.crop(probabilities)
        if cropped.shape[-2:] == (self.height, self.width):
            return cropped
        kwargs = {"align_corners": False} if method == "bilinear" else {}
        return torch.nn.functional.interpolate(cropped[None], (self.height, self.width), mode=method, **kwargs)[0]
