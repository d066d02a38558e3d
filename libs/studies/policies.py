"""Which frame the robot corrects next: guided by R-scores, by chance, or by the truth."""

from __future__ import annotations

import zlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace

import numpy as np

from dataset_torch.errors import UserError
from libs.guidance import INTERACTIVE, GuidanceOptions, recommend

ORACLE = "wo_RS"
GUIDED = ("RS1", "RS4")
POLICIES = "wo_RS, RS1, RS4, random-N, random4-N"  # in words, N is any seed


@dataclass(frozen=True)
class Policy:
    """`wo_RS`: the truly worst frame.  `RS1`: what guidance proposes first.  `RS4`: the truly worst of four proposals.
    `random-N`: any frame, seed N.  `random4-N`: the truly worst of four frames by chance, the fair rival of RS4.

    None of them goes to a frame that was annotated already, while others are left (the framework's rule for its robot).
    """

    name: str

    def __post_init__(self) -> None:
        kind, _, seed = self.name.partition("-")
        known = self.name == ORACLE or self.name in GUIDED or (kind in ("random", "random4") and seed.isdecimal())
        if not known:
            raise UserError(f"unknown policy {self.name!r}. Choose from {POLICIES}.")

    def chooser(self, video: str) -> Chooser:
        """What chooses in one run on that video; the same name and video always choose alike."""
        return Chooser(self.name, video)


class Chooser:
    """The choices of one run."""

    def __init__(self, name: str, video: str):
        self.kind, _, seed = name.partition("-")
        # Another seed on each video, or chance would look at the same places everywhere.
        self._generator = np.random.default_rng([int(seed or 0), zlib.crc32(video.encode())])

    def choose(
        self,
        quality: np.ndarray,
        scores: np.ndarray,
        annotated: Collection[int],
        guidance: GuidanceOptions = INTERACTIVE,
    ) -> int:
        """The next frame, from the truth's `quality` (F, mean J&F) and the R-`scores` (F, nan = not scored)."""
        free = [f for f in range(len(quality)) if f not in annotated] or list(range(len(quality)))
        candidates = free
        if self.kind in GUIDED:
            candidates = recommend(
                self.kind, scores, options=replace(guidance, exclude_annotated=True), annotated_frames=annotated
            )
        elif self.kind == "random":
            candidates = [int(self._generator.choice(free))]
        elif self.kind == "random4":
            candidates = sorted(int(f) for f in self._generator.choice(free, min(4, len(free)), replace=False))
        return min(candidates, key=lambda f: (quality[f], f))


def random_policies(count: int, *, kind: str = "random") -> Iterator[Policy]:
    """Seeds 0 .. count - 1."""
    return (Policy(f"{kind}-{seed}") for seed in range(count))
