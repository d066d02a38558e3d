"""Training sets by name: `KIND:PATH`, several of them mixed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from dataset_torch.clip import Clip
from dataset_torch.clip_folders import ImageMaskClips, davis_clips, youtube_clips
from dataset_torch.clip_sampling import ClipOptions
from dataset_torch.clips import ClipSource, MixedClips, RenderedClips, SyntheticClips
from dataset_torch.errors import UserError
from dataset_torch.masks import resize_ids
from dataset_torch.synthetic.material import load_material
from libs.training.recipe import Recipe, Stage
from libs.training.samples import clearest_frame

KINDS = {
    "clips": "PATH, clips rendered by `python -m dataset_torch.synthetic`",
    "davis": "ROOT, DAVIS-2017 train (for validation: val)",
    "youtube": "ROOT, YouTube-VOS train without the YouTube-iVOS videos",
    "images": "IMAGES,MASKS, single pictures that are moved (static pretraining)",
    "material": "FOLDER, clips rendered while training",
}
VALIDATION_FRAMES = 24  # of a video, at most
VALIDATION_SHORT_SIDE = 480  # pixels; larger pictures are shrunk to it
VALIDATION_OPTIONS = ClipOptions(steps=8, largest_stride=1, reverse=0)  # what is rendered or moved has 8 frames


@dataclass(frozen=True)
class TrainingSet:
    """One set, and how often it is drawn from relative to the others."""

    kind: str
    source: ClipSource
    weight: float = 1.0
    specification: str = ""  # as it was given


Opener = Callable[[str, ClipOptions], ClipSource]


def _open_images(path: str, options: ClipOptions) -> ClipSource:
    images, comma, masks = path.partition(",")
    if not comma:
        raise UserError(f"images:{path} needs two folders: images:IMAGES,MASKS.")
    return ImageMaskClips(images, masks, options, strict=False)


_OPENERS: dict[str, Opener] = {
    "clips": RenderedClips,
    "davis": davis_clips,
    "youtube": youtube_clips,
    "images": _open_images,
    "material": lambda path, options: SyntheticClips(load_material(Path(path)), options),
}
# What is trained on must not decide which weights are kept.
_VALIDATION_OPENERS = {**_OPENERS, "davis": partial(davis_clips, image_set="2017/val.txt")}


def open_set(specification: str, *, openers: Mapping[str, Opener] = _OPENERS) -> TrainingSet:
    """Open `KIND:PATH` or `KIND:PATH*WEIGHT`.  Raises `UserError` for an unknown kind and for unusable folders."""
    kind, colon, path = specification.partition(":")
    if not colon or kind not in openers:
        kinds = "; ".join(f"{name}:{what}" for name, what in KINDS.items())
        raise UserError(f"unknown training set {specification!r}. Write KIND:PATH, where KIND:PATH is one of {kinds}.")
    weight = 1.0
    if "*" in path:
        path, _, text = path.rpartition("*")
        try:
            weight = float(text)
        except ValueError:
            raise UserError(f"{specification!r}: {text!r} after * is no weight.") from None
        if not 0 < weight < float("inf"):
            raise UserError(f"{specification!r}: the weight must be positive, and a number.")
    return TrainingSet(kind, openers[kind](path, ClipOptions()), weight, specification)


def stage_source(sets: Sequence[TrainingSet], recipe: Recipe, stage: Stage) -> ClipSource:
    """What a stage draws from: its kinds of sets (all, where none of them was given), with the stage's options."""
    wanted = [s for s in sets if s.kind in stage.data] or list(sets)
    options = ClipOptions(
        steps=stage.length[1],
        height=stage.size[0],
        width=stage.size[1],
        most_objects=stage.max_objects,
        largest_stride=stage.stride,
        smallest_crop=recipe.smallest_crop,
        colour=recipe.colour,
        recolour=recipe.recolour,
    )
    for one in wanted:
        one.source.options = options
    return wanted[0].source if len(wanted) == 1 else MixedClips([(s.source, s.weight) for s in wanted])


def refresh(sets: Sequence[TrainingSet]) -> None:
    """Notice what was added to sets that grow."""
    for one in sets:
        if isinstance(one.source, RenderedClips):
            one.source.refresh()


def skipped(sets: Sequence[TrainingSet]) -> int:
    """How many things were skipped so far because they could not be used."""
    return sum(sum(one.source.skipped.values()) for one in sets)


def validation_clips(specification: str, count: int) -> list[Clip]:
    """The first `count` usable items of a set, always the same clips: nothing about them is augmented.

    Up to `VALIDATION_FRAMES` frames on end of a video, whole pictures (shrunk where the shorter side is above
    `VALIDATION_SHORT_SIDE`) with all their objects.  `davis:ROOT` is its list `2017/val.txt`.

    Raises:
        UserError: as `open_set`, or no item shows an object that can be stroked.
    """
    source = open_set(specification, openers=_VALIDATION_OPENERS).source
    source.options = VALIDATION_OPTIONS
    clips: list[Clip] = []
    for index in range(min(len(source), 10 * count)):  # some sources never end
        try:
            clip = _held_out(source.excerpt(index, np.random.default_rng(index), VALIDATION_FRAMES))
        except UserError as error:
            source.skip("unusable", str(error))
            continue
        if clearest_frame(clip)[1]:
            clips.append(clip)
        else:
            source.skip("no object large enough", clip.name)
        if len(clips) == count:
            break
    if not clips:
        raise UserError(
            f"--validation {specification}: no clip shows an object that is large enough to be stroked "
            f"({source.summary()}). Give another set."
        )
    return clips


def _held_out(clip: Clip) -> Clip:
    """The clip, at most `VALIDATION_SHORT_SIDE` tall (or wide)."""
    frames, masks = clip.frames, clip.masks
    factor = VALIDATION_SHORT_SIDE / min(masks.shape[1:])
    if factor < 1:
        height, width = (round(factor * side) for side in masks.shape[1:])
        frames = np.stack([cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA) for frame in frames])
        masks = np.stack([resize_ids(mask, height, width) for mask in masks])
    ids = tuple(int(i) for i in np.unique(masks) if i)
    if not ids:
        raise UserError(f"{clip.name} shows no object.")
    return Clip(frames, masks, ids, clip.name)
