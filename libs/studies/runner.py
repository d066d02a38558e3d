"""Plays what is not kept yet, video by video, and says how long the rest will take."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from libs.guidance import INTERACTIVE
from libs.segmenter import Segmenter
from libs.session import Session
from libs.studies.data import StudyVideo, VideoPlan
from libs.studies.methods import ABLATIONS, BASELINES, FULL, Method, methods_for
from libs.studies.play import RoundResult, Start, first_round, play
from libs.studies.policies import GUIDED, ORACLE, Policy, random_policies
from libs.studies.records import RunKey, VideoRecord
from networks.interface import GuidedNetwork

STUDIES = ("baselines", "guidance", "attention")
Say = Callable[[str], None]


@dataclass(frozen=True)
class Task:
    """One run on one video."""

    method: Method
    policy: Policy


def tasks_for(network: GuidedNetwork, studies: Sequence[str], *, random: int, random_four: int = 0) -> list[Task]:
    """The runs that the studies need, each once, those of one method next to each other.

    The correlation of R-score and J is read off the network's own runs; it needs none of its own.
    """
    policies = [ORACLE]
    if "baselines" in studies:
        policies.append("RS4")
    if "guidance" in studies:
        policies += [p for p in GUIDED if p not in policies]
        policies += [p.name for p in random_policies(random)]
        policies += [p.name for p in random_policies(random_four, kind="random4")]
    tasks = [Task(FULL, Policy(p)) for p in policies]
    if "attention" in studies:
        tasks += [Task(m, Policy(ORACLE)) for m in methods_for(network, ABLATIONS)]
    if "baselines" in studies:
        tasks += [Task(m, Policy(p)) for m in methods_for(network, BASELINES) for p in (ORACLE, "RS4")]
    return tasks


def protocol_of(plan: VideoPlan, rounds: int) -> str:
    """Everything but weights and policy that a run depends on, in words."""
    height, width = plan.size
    return f"{plan.num_frames} frames from {plan.first_frame}, {height}x{width}, {rounds} rounds"


class Runner:
    """Plays tasks on videos; `say` gets a line after every run."""

    def __init__(self, network: GuidedNetwork, folder: Path, *, rounds: int, say: Say = print):
        self.network, self.folder, self.rounds, self.say = network, folder, rounds, say
        self._identities: dict[str, str] = {}
        self._segmenters: dict[str, Segmenter] = {}
        self._spent = 0.0  # seconds
        self._done = 0.0  # work, in frames times objects

    def key(self, plan: VideoPlan, task: Task) -> RunKey:
        """What the run of a task on a video is kept under."""
        method = task.method
        if method.name not in self._identities:
            self._identities[method.name] = method.identity(self.network)
        identity = self._identities[method.name]
        if task.policy.name in GUIDED:
            identity += f"-{zlib.crc32(repr(INTERACTIVE).encode()):08x}"
        return RunKey(method.name, task.policy.name, identity, protocol_of(plan, self.rounds))

    def missing(self, plan: VideoPlan, tasks: Sequence[Task]) -> list[Task]:
        """The tasks that are not kept yet."""
        record = self._record(plan)
        return [t for t in tasks if record.get(self.key(plan, t)) is None]

    def all_results(self, plan: VideoPlan, tasks: Sequence[Task]) -> Iterator[tuple[Task, list[RoundResult]]]:
        """Those of the tasks that are finished, and their rounds."""
        record = self._record(plan)
        for task in tasks:
            rounds = record.get(self.key(plan, task))
            if rounds is not None:
                yield task, rounds

    def run(self, plans: Sequence[VideoPlan], tasks: Sequence[Task], *, deadline: float | None = None) -> bool:
        """Play everything that is missing; False if the `deadline` (`time.monotonic` seconds) came first."""
        work = {p.key: self.missing(p, tasks) for p in plans}
        left = sum(_weight(p) * len(work[p.key]) for p in plans)
        total = sum(len(t) for t in work.values())
        self.say(f"{total} runs to play, {len(plans) * len(tasks) - total} kept from before.")
        for plan in plans:
            if not work[plan.key]:
                continue
            video, record = plan.load(), self._record(plan)
            record.num_objects = len(video.object_ids)
            starts: dict[str, Start] = {}
            for task in work[plan.key]:
                if deadline is not None and time.monotonic() > deadline:
                    self.say("The time is up; the same command goes on later.")
                    return False
                began = time.perf_counter()
                rounds = self._play(video, task, starts)
                record.put(self.key(plan, task), rounds)
                self._spent += time.perf_counter() - began
                self._done += _weight(plan)
                left -= _weight(plan)
                figures = " ".join(f"{r.quality.mean():.3f}" for r in rounds)
                remaining = left * self._spent / self._done / 60
                self.say(
                    f"{plan.key} {task.method.name} {task.policy.name}: {figures}  (about {remaining:.0f} min left)"
                )
        return True

    def _record(self, plan: VideoPlan) -> VideoRecord:
        return VideoRecord.open(self.folder, plan.dataset, plan.sequence.name)

    def _segmenter(self, method: Method) -> Segmenter:
        if method.name not in self._segmenters:
            self._segmenters[method.name] = method.build(self.network)
        return self._segmenters[method.name]

    def _play(self, video: StudyVideo, task: Task, starts: dict[str, Start]) -> list[RoundResult]:
        method, segmenter = task.method, self._segmenter(task.method)
        name = FULL.name if method.shares_first_round else method.name
        if name not in starts:
            session: Session | None = None
            if method.shares_features and FULL.name in starts:
                session = self._segmenter(FULL).open(video.frames, object_ids=video.object_ids)
                session.features = starts[FULL.name].session.features  # frames are encoded alike: once is enough
            first = self._segmenter(FULL) if method.shares_first_round else segmenter
            starts[name] = first_round(first, video, session=session)
        return play(segmenter, starts[name], task.policy, rounds=self.rounds)


def _weight(plan: VideoPlan) -> float:
    """Work of a run, up to a factor: part of it grows with the objects, whose number is guessed from the masks."""
    return plan.num_frames * (1 + 0.5 * len(plan.sequence.object_ids))
