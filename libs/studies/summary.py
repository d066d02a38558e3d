"""The figures of the studies, from the kept runs.  Means: over frames and objects of a video, then over videos."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from libs.guidance import INTERACTIVE, expected_help, help_reach
from libs.metrics import area_over_rounds, rank_correlation
from libs.studies.methods import ABLATIONS, BASELINES, NETWORK, Method
from libs.studies.play import RoundResult
from libs.studies.policies import GUIDED, ORACLE

TARGETS = {1: 0.78, 3: 0.86, 8: 0.90}  # J&F that the compact network is to reach on the real videos, by round
ORACLE_MARGIN = 0.01  # how far below the oracle guidance may stay
FEWEST_CHOICES = 6  # runs that a group of `foresight` needs
CORRELATION_TARGETS = (0.5, 0.3)  # Spearman's, after round 1 and over all rounds

RunName = tuple[str, str]  # method, policy
VideoRuns = Mapping[RunName, list[RoundResult]]


@dataclass(frozen=True)
class Curve:
    """J&F of one method and policy."""

    method: str
    policy: str
    title: str
    videos: tuple[str, ...]
    values: np.ndarray  # float64 V x R, per video and round

    @property
    def rounds(self) -> np.ndarray:
        """Mean over the videos, float64 R."""
        return self.values.mean(axis=0)

    @property
    def areas(self) -> np.ndarray:
        """Area over rounds of every video, float64 V."""
        return np.array([area_over_rounds(v) for v in self.values])

    @property
    def area(self) -> float:
        """Mean over the videos of the area over rounds."""
        return float(self.areas.mean())


@dataclass(frozen=True)
class Guidance:
    """Guided choice against chance and against the truth."""

    oracle: Curve
    guided: tuple[Curve, ...]
    random: tuple[Curve, ...]  # one per seed
    random_four: tuple[Curve, ...] = ()

    @property
    def random_areas(self) -> np.ndarray:
        """Area over rounds of every seed, means over videos."""
        return np.array([c.area for c in self.random])

    def beats_chance(self, curve: Curve) -> bool:
        """Above the mean of the random policies by more than their standard deviation."""
        areas = self.random_areas
        return curve.area > areas.mean() + areas.std(ddof=1)

    def near_oracle(self, curve: Curve) -> bool:
        """At most `ORACLE_MARGIN` below the oracle."""
        return curve.area >= self.oracle.area - ORACLE_MARGIN


@dataclass(frozen=True)
class Correlation:
    """Spearman's correlation of R-score and J over the frames of one video; nan = undefined (one side constant)."""

    video: str
    first: float  # after round 1
    mean: float  # mean of all rounds' own correlations
    pooled: float  # frames of all rounds together


@dataclass(frozen=True)
class Foresight:
    """How well a measure of the next frame, taken before a round, foretells what the round wins."""

    measure: str
    correlation: float  # Spearman's with the gain in mean J&F, over runs that differ in the frame; mean of the groups
    error: float  # standard error of that mean
    groups: int  # pairs of video and round


@dataclass(frozen=True)
class Findings:
    """Everything about one data set; `None` where the runs are not there."""

    dataset: str
    videos: tuple[str, ...]
    baselines: tuple[Curve, ...] = ()
    attention: tuple[Curve, ...] = ()
    guidance: Guidance | None = None
    correlations: tuple[Correlation, ...] = ()
    foresight: tuple[Foresight, ...] = ()


def findings(dataset: str, runs: Mapping[str, VideoRuns]) -> Findings:
    """`runs`: video -> (method, policy) -> rounds.  Each study counts the videos that have all of its runs."""
    return Findings(
        dataset,
        tuple(sorted(runs)),
        baselines=_baselines(runs),
        attention=_attention(runs),
        guidance=_guidance(runs),
        correlations=_correlations(runs),
        foresight=foresight(runs),
    )


def curves(runs: Mapping[str, VideoRuns], wanted: Sequence[tuple[RunName, str]]) -> tuple[Curve, ...]:
    """One curve per ((method, policy), title), over the videos that have all of them; empty if none has."""
    names = [name for name, _ in wanted]
    videos = tuple(v for v in sorted(runs) if all(n in runs[v] for n in names))
    if not videos or not names:
        return ()
    return tuple(
        Curve(*name, title, videos, np.array([[r.quality.mean() for r in runs[v][name]] for v in videos]))
        for name, title in wanted
    )


def correlation(video: str, rounds: Sequence[RoundResult]) -> Correlation:
    """Of one run; rounds that changed nothing are left out."""
    pairs = [_scored(r) for r in rounds if not r.empty]
    if not pairs:
        return Correlation(video, float("nan"), float("nan"), float("nan"))
    each = np.array([rank_correlation(*p) for p in pairs])
    pooled = rank_correlation(*(np.concatenate(side) for side in zip(*pairs, strict=True)))
    mean = float(np.nanmean(each)) if np.isfinite(each).any() else float("nan")
    return Correlation(video, float(each[0]), mean, pooled)


def foresight(runs: Mapping[str, VideoRuns]) -> tuple[Foresight, ...]:
    """From the network's runs with frames by chance: in a group are the rounds of one number on one video.

    Empty if no group has `FEWEST_CHOICES` rounds.  Frames that were annotated before do not count.
    """
    found: dict[str, list[float]] = {}
    for video in runs.values():
        own = [rounds for (m, policy), rounds in video.items() if m == NETWORK and policy.startswith("random-")]
        for number in range(1, max(map(len, own), default=0)):
            group = [_foreseen(rounds[:number], rounds[number]) for rounds in own if len(rounds) > number]
            group = [g for g in group if g is not None]
            if len(group) < FEWEST_CHOICES:
                continue
            gains = np.array([gain for _, gain in group])
            for measure in group[0][0]:
                value = rank_correlation(np.array([measures[measure] for measures, _ in group]), gains)
                if np.isfinite(value):
                    found.setdefault(measure, []).append(value)
    return tuple(
        Foresight(m, float(np.mean(v)), float(np.std(v) / max(1, len(v) - 1) ** 0.5), len(v)) for m, v in found.items()
    )


def _foreseen(before: Sequence[RoundResult], this: RoundResult) -> tuple[dict[str, float], float] | None:
    """Measures of the frame that was chosen after the rounds `before`, and what this round then won."""
    annotated, f, last = {r.frame for r in before}, this.frame, before[-1]
    if f in annotated or this.empty:
        return None
    frames = len(last.scores)
    measures = {
        "expected help (guidance)": float(expected_help(last.scores, annotated, help_reach(INTERACTIVE, frames))[f]),
        "the frame's own doubt, 1 - R-score (published)": 1 - float(np.nan_to_num(last.scores[f])),
        "distance from annotated frames": float(min(abs(f - a) for a in annotated)),
        "the frame's true error, 1 - J&F": 1 - float(last.quality[f]),
    }
    return measures, float(this.quality.mean() - last.quality.mean())


def _scored(r: RoundResult) -> tuple[np.ndarray, np.ndarray]:
    known = np.isfinite(r.scores)
    return r.scores[known], r.j[known]


def _present(runs: Mapping[str, VideoRuns], names: Sequence[RunName]) -> list[RunName]:
    """Those names that at least one video has."""
    return [n for n in names if any(n in video for video in runs.values())]


def _title(methods: Sequence[Method], name: str) -> str:
    return next(m.title for m in methods if m.name == name)


def _baselines(runs: Mapping[str, VideoRuns]) -> tuple[Curve, ...]:
    """Of each policy the videos that all methods have played with it."""
    found: list[Curve] = []
    for policy in (ORACLE, "RS4"):
        names = _present(runs, [(NETWORK, policy), *((m.name, policy) for m in BASELINES)])
        if len(names) > 1 or found:  # the network alone only beside a comparison
            found += curves(runs, [(n, "the network" if n[0] == NETWORK else _title(BASELINES, n[0])) for n in names])
    return tuple(found)


def _attention(runs: Mapping[str, VideoRuns]) -> tuple[Curve, ...]:
    names = _present(runs, [(m.name, ORACLE) for m in ABLATIONS])
    if not names:
        return ()
    wanted = [((NETWORK, ORACLE), "R-attention and local propagation (the network)")]
    return curves(runs, wanted + [(n, _title(ABLATIONS, n[0])) for n in names])


def _guidance(runs: Mapping[str, VideoRuns]) -> Guidance | None:
    seen = {n for video in runs.values() for n in video if n[0] == NETWORK}
    chance = sorted((n for n in seen if n[1].startswith("random-")), key=lambda n: int(n[1].partition("-")[2]))
    four = sorted((n for n in seen if n[1].startswith("random4-")), key=lambda n: int(n[1].partition("-")[2]))
    guided = [(NETWORK, p) for p in GUIDED if (NETWORK, p) in seen]
    if len(chance) < 2 or not guided or (NETWORK, ORACLE) not in seen:
        return None
    names = [(NETWORK, ORACLE), *guided, *chance, *four]
    found = curves(runs, [(n, n[1]) for n in names])
    if not found:
        return None
    first, second = 1 + len(guided), 1 + len(guided) + len(chance)
    return Guidance(found[0], found[1:first], found[first:second], found[second:])


def _correlations(runs: Mapping[str, VideoRuns]) -> tuple[Correlation, ...]:
    return tuple(correlation(v, runs[v][NETWORK, ORACLE]) for v in sorted(runs) if (NETWORK, ORACLE) in runs[v])


def mean_correlation(found: Sequence[Correlation]) -> Correlation:
    """The mean over videos of what is defined."""

    def mean(name: str) -> float:
        values = np.array([getattr(c, name) for c in found])
        return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")

    return Correlation("mean", mean("first"), mean("mean"), mean("pooled"))
