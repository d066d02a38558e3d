"""Reader for data in YouTube-VOS layout (2018 and 2019 releases, and anything laid out like them).

    <root>/train/JPEGImages/<video>/00000.jpg, 00005.jpg, ...     every fifth frame of a 30 fps video
    <root>/train/Annotations/<video>/00000.png, ...               palette masks of object ids
    <root>/train/meta.json      {"videos": {<video>: {"objects": {"1": {"category": "dog", "frames": ["00000", ...]}}}}}

Frame names are numbers of the original video, so the second frame is usually `00005`.  Object ids may have gaps and
need not start at 1; an object may appear late or leave.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from dataset_torch.errors import UserError
from dataset_torch.frames import ImageFolder, is_picture
from dataset_torch.masks import read_mask

_EXCLUDED = Path(__file__).with_name("youtube_ivos_videos.txt")


def youtube_ivos_videos() -> tuple[str, ...]:
    """Names of the 200 benchmark videos, which training must leave out (source: `youtube_ivos_videos.txt`)."""
    lines = _EXCLUDED.read_text(encoding="utf-8").splitlines()
    return tuple(line for line in lines if line and not line.startswith("#"))


class YouTubeVideo:
    """One video.  `frame_names` (`00000`, `00005`, ...) in order; index i is the i-th of them."""

    def __init__(self, root: Path, name: str, object_ids: Sequence[int]):
        self.name = name
        self.object_ids = tuple(sorted(object_ids))  # as in the masks; not necessarily 1, 2, 3
        self.image_folder = root / "JPEGImages" / name
        self.mask_folder = root / "Annotations" / name
        self.frame_names = tuple(sorted(path.stem for path in self.image_folder.glob("*.jpg") if is_picture(path)))
        if not self.frame_names:
            raise UserError(f"video {name}: {self.image_folder} holds no .jpg frames.")

    def __len__(self) -> int:
        return len(self.frame_names)

    @cached_property
    def frames(self) -> ImageFolder:
        """The frames as a `FrameSource`.  Raises `UserError` for an unreadable first frame."""
        source = ImageFolder(self.image_folder, files=[self.image_folder / f"{n}.jpg" for n in self.frame_names])
        source.name = self.name
        return source

    def index_of(self, frame_name: str) -> int:
        """Index of a frame named `00030`, `00030.jpg` or `00030.png`.

        Raises:
            UserError: the release at hand has no such frame.  YouTube-VOS was re-released at another frame rate, so the
                numbers of one release may not exist in the other.
        """
        stem = Path(frame_name).stem
        if stem in self.frame_names:
            return self.frame_names.index(stem)
        step = frame_step(self.frame_names)
        raise UserError(
            f"video {self.name} has no frame {stem}: its frames are {self.frame_names[0]} to {self.frame_names[-1]}, "
            f"every {step}{_ordinal(step)}. The published point files belong to the YouTube-VOS 2019 release with "
            "every fifth frame (6 per second): get its train.zip, not the one with all frames or another rate."
        )

    def mask_path(self, index: int) -> Path:
        """Where the mask of frame `index` is, or would be."""
        return self.mask_folder / f"{self.frame_names[index]}.png"

    def mask(self, index: int) -> np.ndarray:
        """Mask of frame `index`, uint8 H x W of the data set's ids.

        Raises:
            UserError: no mask, unreadable, or of another size than the frames.
        """
        path = self.mask_path(index)
        mask = read_mask(path)
        if mask.shape != (self.frames.height, self.frames.width):
            raise UserError(
                f"mask {path} is {mask.shape[1]}x{mask.shape[0]}, the frames {self.frames.width}x{self.frames.height}: "
                "they must have one size."
            )
        return mask

    def masks(self) -> np.ndarray:
        """The masks of all frames, uint8 F x H x W.  Raises `UserError` as `mask`."""
        return np.stack([self.mask(i) for i in range(len(self))])


class YouTubeDataset:
    """The videos of one split (`train`, or `valid`, whose masks cover only first appearances).

    Args:
        root: the folder that holds `train/`; the folder `train/` itself works too.
        videos: names to keep, in this order; None for all, sorted.
        exclude: names to leave out; those that are not there are no error.

    Raises:
        UserError: a missing folder or `meta.json`, a `meta.json` of another form, or a video in `videos` that is
        missing.
    """

    def __init__(
        self,
        root: str | Path,
        *,
        split: str = "train",
        videos: Sequence[str] | None = None,
        exclude: Sequence[str] = (),
    ):
        root = Path(root)
        if not root.is_dir():
            raise UserError(
                f"the data set folder {root} does not exist. Give the folder that holds {split}/JPEGImages."
            )
        self.root = root / split if (root / split).is_dir() else root
        for needed in ("JPEGImages", "Annotations"):
            if not (self.root / needed).is_dir():
                raise UserError(
                    f"{self.root} has no folder {needed}: a YouTube-VOS release has {split}/JPEGImages, "
                    f"{split}/Annotations and {split}/meta.json."
                )
        self._meta = self._read_meta(self.root / "meta.json")
        leave_out = set(exclude)
        if videos is not None:
            missing = [name for name in videos if name not in self._meta]
            if missing:
                raise UserError(
                    f"{len(missing)} of {len(videos)} wanted videos are not in {self.root / 'meta.json'}, for example "
                    f"{', '.join(missing[:3])}. Check that this is the right release and split."
                )
        chosen = sorted(self._meta) if videos is None else videos
        self.names = [name for name in chosen if name not in leave_out]

    @staticmethod
    def _read_meta(path: Path) -> dict[str, list[int]]:
        """Name of a video -> ids of its objects."""
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            return {name: [int(i) for i in dict(video["objects"])] for name, video in content["videos"].items()}
        except OSError as error:
            raise UserError(f"{path} cannot be read ({error.strerror}): it comes with the data set.") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(
                f"{path} is not a YouTube-VOS meta.json ({error!r}): take it from the release again."
            ) from error

    def __len__(self) -> int:
        return len(self.names)

    def video(self, name: str) -> YouTubeVideo:
        """One video by name.

        Raises:
            UserError: not in this data set, or without frames.
        """
        if name not in self._meta:
            raise UserError(f"video {name} is not in {self.root / 'meta.json'}.")
        return YouTubeVideo(self.root, name, self._meta[name])

    def __getitem__(self, index: int) -> YouTubeVideo:
        return self.video(self.names[index])


def frame_step(frame_names: Sequence[str]) -> int:
    """The usual distance between frame numbers: 5 in YouTube-VOS, 1 in its all-frames version; 1 for a single frame."""
    numbers = [int(name) for name in frame_names if name.isdigit()]
    return int(np.median(np.diff(numbers))) if len(numbers) > 1 else 1


def _ordinal(number: int) -> str:
    if number % 100 in (11, 12, 13):
        return "th"
    return {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
