"""Training sets by name: `KIND:PATH`, several of them mixed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dataset_torch.clip import Clip
from dataset_torch.clip_folders import ImageMaskClips, davis_clips, youtube_clips
from dataset_torch.clip_sampling import ClipOptions
from dataset_torch.clips import ClipSource, MixedClips, RenderedClips, SyntheticClips
from dataset_torch.errors import UserError
from dataset_torch.synthetic.material import load_material
from libs.training.recipe import Recipe, Stage

KINDS = {
    "clips": "PATH, clips rendered by `python -m dataset_torch.synthetic`",
    "davis": "ROOT, DAVIS-2017 train",
    "youtube": "ROOT, YouTube-VOS train without the YouTube-iVOS videos",
    "images": "IMAGES,MASKS, single pictures that are moved (static pretraining)",
    "material": "FOLDER, clips rendered while training",
}
VALIDATION_STEPS = 8
VALIDATION_OPTIONS = ClipOptions(
    steps=VALIDATION_STEPS,
    largest_stride=1,
    reverse=0,
    flip=0,
    smallest_crop=1,
    aspect=1,
    colour=0,
)


@dataclass(frozen=True)
class TrainingSet:
    """One set, and how often it is drawn from relative to the others."""

    kind: str
    source: ClipSource
    weight: float = 1.0


def _open_images(path: str, options: ClipOptions) -> ClipSource:
    images, comma, masks = path.partition(",")
    if not comma:
        raise UserError(f"images:{path} needs two folders: images:IMAGES,MASKS.")
    return ImageMaskClips(images, masks, options, strict=False)


_OPENERS: dict[str, Callable[[str, ClipOptions], ClipSource]] = {
    "clips": RenderedClips,
    "davis": davis_clips,
    "youtube": youtube_clips,
    "images": _open_images,
    "material": lambda path, options: SyntheticClips(load_material(Path(path)), options),
}


def open_set(specification: str) -> TrainingSet:
    """Open `KIND:PATH` or `KIND:PATH*WEIGHT`.  Raises `UserError` for an unknown kind and for unusable folders."""
    kind, colon, path = specification.partition(":")
    if not colon or kind not in _OPENERS:
        kinds = "; ".join(f"{name}:{what}" for name, what in KINDS.items())
        raise UserError(f"unknown training set {specification!r}. Write KIND:PATH, where KIND:PATH is one of {kinds}.")
    weight = 1.0
    if "*" in path:
        path, _, text = path.rpartition("*")
        try:
            weight = float(text)
        except ValueError:
            raise UserError(f"{specification!r}: {text!r} after * is no weight.") from None
        if weight <= 0:
            raise UserError(f"{specification!r}: the weight must be positive.")
    return TrainingSet(kind, _OPENERS[kind](path, ClipOptions()), weight)


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
    """The first `count` items of a set, whole and unchanged: always the same clips."""
    source = open_set(specification).source
    source.options = VALIDATION_OPTIONS
    return [source.clip(i, np.random.default_rng(i)) for i in range(min(count, len(source)))]
