"""Training clips from folders of real data: videos in DAVIS or YouTube-VOS layout, single images with masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from dataset_torch.clip import Clip
from dataset_torch.clip_sampling import ClipOptions, choose_frames
from dataset_torch.clips import ClipSource
from dataset_torch.davis import read_names
from dataset_torch.errors import UserError
from dataset_torch.frames import is_picture, upright_size
from dataset_torch.masks import read_mask, refuse_grey_levels, resize_ids
from dataset_torch.parts import recolour_parts
from dataset_torch.synthetic.pictures import LARGEST_PHOTO, Photo, image_pyramid, read_photo, shrink
from dataset_torch.synthetic.recipe import DEFAULT_RECIPE
from dataset_torch.synthetic.render import render_still
from dataset_torch.youtube import YouTubeDataset, youtube_ivos_videos


@dataclass(frozen=True)
class LabelledVideo:
    """The frames of one video that have a mask, in order."""

    name: str
    frames: tuple[Path, ...]
    masks: tuple[Path, ...]


class VideoClips(ClipSource):
    """Clips of videos with masks.  Use `davis_clips` or `youtube_clips` to open a data set."""

    def __init__(self, videos: Sequence[LabelledVideo], options: ClipOptions):
        super().__init__(options)
        self.videos = list(videos)
        self._void: dict[str, bool] = {}  # of videos with 255 in their masks: whether it is void

    def __len__(self) -> int:
        return len(self.videos)

    def raw(self, index: int, rng: np.random.Generator, steps: int) -> Clip:
        video = self.videos[index]
        options = self.options
        chosen = choose_frames(rng, len(video.frames), steps, options.largest_stride, reverse=options.reverse)
        pairs = {i: _read_pair(video.frames[i], video.masks[i]) for i in sorted(set(chosen.tolist()))}
        frames, masks = zip(*(pairs[i] for i in chosen.tolist()))
        if len({frame.shape for frame in frames}) > 1:
            raise UserError(f"video {video.name} has frames of several sizes.")
        ids = self._without_void(np.stack(masks), video)
        return _clip(np.stack(frames), ids, video.name)

    def excerpt(self, index: int, rng: np.random.Generator, longest: int) -> Clip:
        return self.raw(index, rng, min(longest, len(self.videos[index].frames)))

    def _without_void(self, masks: np.ndarray, video: LabelledVideo) -> np.ndarray:
        """255 is void, unless the whole video shows nothing else (some sets write their one object so)."""
        if not (masks == 255).any():
            return masks
        if _has_ids(masks):
            self._void[video.name] = True
        elif video.name not in self._void:
            self._void[video.name] = any(_has_ids(read_mask(path)) for path in video.masks)
        return _void_decided(masks, is_void=self._void[video.name])


def davis_clips(root: str | Path, options: ClipOptions, *, image_set: str = "2017/train.txt") -> VideoClips:
    """The videos of a set in DAVIS layout (`JPEGImages/480p/<video>`, `Annotations/480p/<video>`, `ImageSets/<set>`).

    Frames without mask are left out and counted in `skipped`, and so are videos without any.

    Raises:
        UserError: a missing folder or list, a listed video that is not there, or nothing left.
    """
    root = Path(root)
    list_path = root / "ImageSets" / image_set
    if not list_path.is_file():
        raise UserError(
            f"{list_path} is missing: {root} is not in DAVIS layout, or has no such set. The list is a text with the "
            "name of a video in every line."
        )
    names = read_names(list_path)
    found, skipped = [], []
    for name in names:
        images = root / "JPEGImages" / "480p" / name
        if not images.is_dir():
            raise UserError(f"{list_path} names {name}, but {images} is missing: unpack the data set again.")
        found.append(_pair_up(name, images, root / "Annotations" / "480p" / name, skipped))
    return _open_videos(found, skipped, options, root)


def youtube_clips(root: str | Path, options: ClipOptions, *, exclude: Sequence[str] | None = None) -> VideoClips:
    """The videos of `train` in YouTube-VOS layout, without `exclude` (None: the 200 YouTube-iVOS benchmark videos).

    Raises:
        UserError: as `YouTubeDataset`, or nothing left.
    """
    dataset = YouTubeDataset(root, split="train", exclude=youtube_ivos_videos() if exclude is None else exclude)
    found, skipped = [], []
    for name in dataset.names:
        folders = dataset.root / "JPEGImages" / name, dataset.root / "Annotations" / name
        found.append(_pair_up(name, *folders, skipped))
    return _open_videos(found, skipped, options, dataset.root)


def _pair_up(name: str, images: Path, masks: Path, skipped: list[tuple[str, str, int]]) -> LabelledVideo:
    """Frames with their masks by file name; what has no mask is added to `skipped` as (reason, what, how many)."""
    frames = sorted(p for p in images.glob("*") if is_picture(p)) if images.is_dir() else []
    available = {p.stem: p for p in masks.glob("*.png") if is_picture(p)} if masks.is_dir() else {}
    if not frames:
        skipped.append(("video without frames", str(images), 1))
    paired = [(frame, available[frame.stem]) for frame in frames if frame.stem in available]
    if count := len(frames) - len(paired):  # one line a video: some sets have a mask for every fifth frame only
        skipped.append(("frame without mask", f"{count} frames of {images}", count))
    return LabelledVideo(name, tuple(f for f, _ in paired), tuple(m for _, m in paired))


def _open_videos(
    videos: list[LabelledVideo], skipped: list[tuple[str, str, int]], options: ClipOptions, root: Path
) -> VideoClips:
    usable = [video for video in videos if video.frames]
    if not usable:
        raise UserError(f"{root} has no frame with a mask ({len(videos)} videos looked at).")
    source = VideoClips(usable, options)
    for reason, what, count in skipped:
        source.skip(reason, what, count)
    return source


class ImageMaskClips(ClipSource):
    """Single images with masks, made into clips by smooth affine and thin-plate motion (static pretraining).

    `images` and `masks` are folders whose files pair up by name without suffix, sub-folders included.  A mask of 0 and
    255 alone shows one object; otherwise 255 is void.  With `strict` a file that cannot be used is refused at opening,
    otherwise it is left out and counted in `skipped`.

    Raises:
        UserError: a missing or empty folder, nothing usable, or (`strict`) an image without mask, a mask of another
            size, or an unreadable file.  A mask without object is only found when it is read, and then skipped.
    """

    def __init__(self, images: str | Path, masks: str | Path, options: ClipOptions, *, strict: bool = True):
        super().__init__(options)
        images, masks = Path(images), Path(masks)
        for folder in (images, masks):
            if not folder.is_dir():
                raise UserError(f"{folder} is not a folder.")
        files = sorted(p for p in images.rglob("*") if is_picture(p))
        if not files:
            raise UserError(f"{images} holds no images.")
        self.pairs: list[tuple[Path, Path]] = []
        for path in files:
            mask = masks / path.relative_to(images).with_suffix(".png")
            problem = _problem(path, mask)
            if problem is None:
                self.pairs.append((path, mask))
            elif strict:
                raise UserError(f"{problem[1]} Mend or remove it, or allow skipping.")
            else:
                self.skip(*problem)
        if not self.pairs:
            raise UserError(f"none of the {len(files)} images in {images} has a usable mask in {masks}.")

    def __len__(self) -> int:
        return len(self.pairs)

    def raw(self, index: int, rng: np.random.Generator, steps: int) -> Clip:
        path, mask_path = self.pairs[index]
        image, mask = _read_pair(path, mask_path)
        mask = _void_decided(mask, is_void=_has_ids(mask))
        if not mask.any():
            raise UserError(f"{mask_path} holds no object.")
        image = shrink(image, LARGEST_PHOTO)
        if self.options.recolour > 0 and rng.random() < self.options.recolour:
            image = recolour_parts(image, resize_ids(mask, *image.shape[:2]), rng)
        recipe = replace(DEFAULT_RECIPE, steps=steps, height=self.options.height, width=self.options.width)
        frames, masks = render_still(rng, Photo(path.stem, image_pyramid(image), mask), recipe)
        return _clip(frames, masks, str(path))


def _problem(image: Path, mask: Path) -> tuple[str, str] | None:
    """Why a pair cannot be used, as (reason, sentence); None if it can.  Reads the files' headers only."""
    if not mask.is_file():
        return "image without mask", f"image {image} has no mask: {mask} is missing."
    sizes = []
    for path in (image, mask):
        try:
            sizes.append(upright_size(path))
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            return "unreadable file", f"{path} cannot be read ({error})."
    if sizes[0] != sizes[1]:
        return "mask of another size", f"mask {mask} is {sizes[1]}, its image {sizes[0]} (width, height)."
    return None


def _read_pair(image_path: Path, mask_path: Path) -> tuple[np.ndarray, np.ndarray]:
    """RGB image uint8 H x W x 3 and mask uint8 H x W as it is on disk.

    Raises `UserError`; also for a mask of grey levels, which would become dozens of objects.
    """
    image = read_photo(image_path)
    mask = read_mask(mask_path)
    if mask.shape != image.shape[:2]:
        raise UserError(f"mask {mask_path} is {mask.shape}, its image {image.shape[:2]}: they must have one size.")
    refuse_grey_levels(mask, mask_path)
    return image, mask


def _has_ids(mask: np.ndarray) -> bool:
    return bool(((mask > 0) & (mask < 255)).any())


def _void_decided(mask: np.ndarray, *, is_void: bool) -> np.ndarray:
    """255 becomes background where it is void, else object 1."""
    return np.where(mask == 255, 0 if is_void else 1, mask).astype(np.uint8)


def _clip(frames: np.ndarray, masks: np.ndarray, name: str) -> Clip:
    ids = tuple(int(i) for i in np.flatnonzero(np.bincount(masks.reshape(-1), minlength=256)[1:]) + 1)
    if not ids:
        raise UserError(f"{name}: no object in the chosen frames")
    return Clip(frames, masks, ids, name)
