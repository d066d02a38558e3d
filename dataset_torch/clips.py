"""Where training clips come from: one small interface, and the sources that need no data set.

    source = MixedClips([(RenderedClips(folder, options), 3.0), (davis_clips(root, options), 1.0)])
    clip = source.clip(17, np.random.default_rng([seed, position]))

The generator alone decides what is random, so a run that stops and goes on sees the same clips.  Files that turn out
unusable are skipped, logged once and counted in `source.skipped`; a source that has nothing usable raises `UserError`.
"""

from __future__ import annotations

import abc
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from dataset_torch.clip import Clip
from dataset_torch.clip_sampling import ClipOptions, choose_frames, sample_clip
from dataset_torch.errors import UserError
from dataset_torch.synthetic.material import Material
from dataset_torch.synthetic.recipe import DEFAULT_RECIPE
from dataset_torch.synthetic.render import render_clip
from dataset_torch.synthetic.shards import ClipShards

__all__ = ["Clip", "ClipOptions", "ClipSource", "MixedClips", "RenderedClips", "SyntheticClips"]

ATTEMPTS = 50
NOMINAL_LENGTH = 10_000  # of a source that never ends
_log = logging.getLogger(__name__)


class ClipSource(abc.ABC):
    """A set of clips.  `options` may be replaced at any time; `skipped` counts unusable things by reason."""

    def __init__(self, options: ClipOptions):
        self.options = options
        self.skipped: Counter[str] = Counter()
        self._known_bad: set[str] = set()

    @abc.abstractmethod
    def __len__(self) -> int: ...

    @abc.abstractmethod
    def raw(self, index: int, rng: np.random.Generator, steps: int) -> Clip:
        """Exactly `steps` frames of item `index`, before cropping.

        Raises:
            UserError: the item cannot be used.
        """

    def excerpt(self, index: int, rng: np.random.Generator, longest: int) -> Clip:
        """Item `index` as it is, all objects and the whole picture, in up to `longest` frames.

        Raises:
            UserError: the item cannot be used.
        """
        return self.raw(index, rng, min(longest, self.options.steps))

    def clip(self, index: int, rng: np.random.Generator, *, steps: int | None = None) -> Clip:
        """A training clip of item `index`, by `options` (`steps` overrides theirs); ids are 1, 2, ...

        An unusable item is counted and replaced by another one that `rng` chooses.

        Raises:
            UserError: `ATTEMPTS` items in a row were unusable.
        """
        options = self.options if steps is None else replace(self.options, steps=steps)
        last = "none of them shows an object"
        for _ in range(ATTEMPTS):
            try:
                sampled = sample_clip(self.raw(index, rng, options.steps), rng, options)
                if sampled is not None:
                    return sampled
                self.skip("no object visible", f"item {index}")
            except UserError as error:
                last = str(error)
                self.skip("unusable", last)
            index = int(rng.integers(len(self)))
        raise UserError(f"{ATTEMPTS} items in a row gave no clip; the last reason: {last}")

    def skip(self, reason: str, what: str, count: int = 1) -> None:
        """Count `count` unusable things under `reason`; `what` is logged the first time."""
        self.skipped[reason] += count
        if what not in self._known_bad:
            self._known_bad.add(what)
            _log.warning("skipped (%s): %s", reason, what)

    def summary(self) -> str:
        """One line for the log: how many items, how many skipped and why."""
        reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(self.skipped.items())) or "none"
        return f"{type(self).__name__}: {len(self)} items, skipped: {reasons}"


def thin_out(clip: Clip, rng: np.random.Generator, steps: int, options: ClipOptions) -> Clip:
    """Choose `steps` frames of a clip that is in memory.

    Raises:
        UserError: no object is in the chosen frames.
    """
    chosen = choose_frames(rng, len(clip), steps, options.largest_stride, reverse=options.reverse)
    masks = clip.masks[chosen]
    ids = tuple(int(i) for i in np.flatnonzero(np.bincount(masks.reshape(-1), minlength=256)[1:]) + 1)
    if not ids:
        raise UserError(f"{clip.name}: no object in the chosen frames")
    return Clip(clip.frames[chosen], masks, ids, clip.name)


class RenderedClips(ClipSource):
    """Clips that were rendered to disk (`dataset_torch.synthetic.render_many`); grows with `refresh`.

    Raises:
        UserError: no clip in the folder.
    """

    def __init__(self, folder: str | Path, options: ClipOptions):
        super().__init__(options)
        self.shards = ClipShards(Path(folder))

    def __len__(self) -> int:
        return len(self.shards)

    def refresh(self) -> int:
        """Notice clips that were rendered since; returns how many there are."""
        return self.shards.refresh()

    def raw(self, index: int, rng: np.random.Generator, steps: int) -> Clip:
        return thin_out(self._read(index), rng, steps, self.options)

    def excerpt(self, index: int, rng: np.random.Generator, longest: int) -> Clip:
        clip = self._read(index)
        return thin_out(clip, rng, min(longest, len(clip)), self.options)

    def _read(self, index: int) -> Clip:
        try:
            return self.shards[index % len(self.shards)]
        except (OSError, ValueError) as error:
            raise UserError(str(error)) from error


class SyntheticClips(ClipSource):
    """Clips rendered when they are asked for: the length is only nominal, every call renders another clip."""

    def __init__(self, material: Material, options: ClipOptions):
        super().__init__(options)
        self.material = material

    def __len__(self) -> int:
        return NOMINAL_LENGTH

    def raw(self, index: int, rng: np.random.Generator, steps: int) -> Clip:
        seed = (index, int(rng.integers(2**31)))
        return render_clip(seed, self.material, replace(DEFAULT_RECIPE, steps=steps))


class MixedClips(ClipSource):
    """Several sources, each drawn with a chance proportional to its weight; their own options count.

    Raises:
        UserError: no source, or a weight that is not positive.
    """

    def __init__(self, sources: Sequence[tuple[ClipSource, float]]):
        if not sources or any(weight <= 0 for _, weight in sources):
            raise UserError("a mix needs at least one source, and positive weights only.")
        self.sources = [source for source, _ in sources]
        weights = np.array([weight for _, weight in sources], float)
        self.chances = weights / weights.sum()
        super().__init__(self.sources[0].options)

    def __len__(self) -> int:
        return sum(len(source) for source in self.sources)

    def raw(self, index: int, rng: np.random.Generator, steps: int) -> Clip:
        raise NotImplementedError("a mix hands out finished clips only")

    def clip(self, index: int, rng: np.random.Generator, *, steps: int | None = None) -> Clip:
        """A clip of one source; `index` is taken modulo that source's length."""
        source = self.sources[int(rng.choice(len(self.sources), p=self.chances))]
        return source.clip(index % len(source), rng, steps=steps)

    def summary(self) -> str:
        """One line per source."""
        lines = [f"{chance:.0%} {source.summary()}" for chance, source in zip(self.chances, self.sources)]
        return "\n".join(lines)
