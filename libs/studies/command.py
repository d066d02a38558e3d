"""The command `python -m libs.studies`: play the studies that are missing and write their page."""

from __future__ import annotations

import argparse
import shlex
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2

from dataset_torch.atomic import check_writable
from dataset_torch.errors import UserError
from libs import checkpoints, device, runs
from libs.studies.data import DataRoot, VideoPlan, plan_videos
from libs.studies.methods import ABLATIONS, BASELINES, FULL
from libs.studies.options import study_parser
from libs.studies.page import About, write_page
from libs.studies.policies import POLICIES, Policy
from libs.studies.runner import STUDIES, Runner, Task, protocol_of, tasks_for
from libs.studies.summary import RunName, VideoRuns

KEPT_POLICIES = 100  # seeds that are looked for among the kept runs


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = study_parser(
        "libs.studies", "Play the studies on the videos of data sets in DAVIS layout and write their page."
    )
    add = parser.add_argument
    # Not the folders that are part of the repository: a page shows the videos that were asked for, and no others.
    add(
        "--out",
        type=Path,
        default=Path("results/studies"),
        help="folder of the page, the tables and the kept runs [%(default)s]",
    )
    add("--studies", default=",".join(STUDIES), help="which, separated by commas [%(default)s]")
    methods = ", ".join(m.name for m in (FULL, *ABLATIONS, *BASELINES))
    add(
        "--methods",
        default=None,
        help=f"play only these of the studies' methods, separated by commas, the page shows all: {methods} [all]",
    )
    add(
        "--policies",
        default=None,
        help=f"play only these of the studies' policies, separated by commas: {POLICIES} (N: a seed) [all]",
    )
    add("--sequences", default=None, help="only these, separated by commas; the page shows all that is kept [all]")
    add("--max-frames", type=int, default=None, help="only the first so many frames of each video [all]")
    add("--rounds", type=int, default=8, help="rounds of each run [%(default)s]")
    add(
        "--random",
        type=int,
        default=10,
        help="random policies (seeds) that guidance is compared with [%(default)s]",
    )
    add(
        "--random-four",
        type=int,
        default=0,
        help="seeds of the policy 'truly worst of four random frames' [%(default)s]",
    )
    add("--minutes", type=float, default=None, help="stop after the run that is playing then; the same command goes on")
    add("--page-only", action="store_true", help="play nothing, write the page from what is kept")
    add("--note", action="append", default=[], help="a sentence for the page, repeatable")
    return parser.parse_args(argv)


def run(argv: Sequence[str]) -> None:
    """Play what is missing, write the page and say where it is.  Raises `UserError`."""
    print(f"page: {study(arguments(argv), list(argv))}")


def study(options: argparse.Namespace, argv: Sequence[str]) -> Path:
    """The whole command; returns the page's path.  Raises `UserError`."""
    studies = _names(options.studies) or []
    if unknown := [s for s in studies if s not in STUDIES]:
        raise UserError(f"there is no study {unknown[0]!r}. Choose from {', '.join(STUDIES)}.")
    if options.rounds < 1 or options.random < 0 or options.random_four < 0:
        raise UserError("--rounds must be at least 1, --random and --random-four at least 0.")
    device.set_threads(options.threads)
    cv2.setNumThreads(options.threads)
    check_writable(options.out)
    roots = [DataRoot.parse(text) for text in options.davis_root]
    folder = options.out / "records"
    names = _names(options.sequences)
    plans = plan_videos(roots, sequences=names and names + recorded(folder, roots), max_frames=options.max_frames)
    chosen = [p for p in plans if names is None or p.sequence.name in names]
    network = checkpoints.load_network(options.checkpoint).to(device.exact_device(options.device))
    runner = Runner(network, folder, rounds=options.rounds, say=lambda line: print(line, flush=True))
    tasks = tasks_for(network, studies, random=options.random, random_four=options.random_four)
    tasks = only(tasks, _names(options.methods), lambda task: task.method.name)
    tasks = only(tasks, _names(options.policies), lambda task: task.policy.name)
    if not options.page_only:
        deadline = None if options.minutes is None else time.monotonic() + 60 * options.minutes
        runner.run(chosen, tasks, deadline=deadline)
    found = kept(runner, plans)
    shown = [p for p in plans if p.sequence.name in found.get(p.dataset, {})]
    return write_page(options.out, found, about(options, shown, argv))


def only(tasks: list[Task], names: list[str] | None, name_of: Callable[[Task], str]) -> list[Task]:
    """The tasks with one of these names; all without names.  Raises `UserError` for a name that no task has."""
    if names is None:
        return tasks
    if unknown := [n for n in names if n not in {name_of(t) for t in tasks}]:
        known = ", ".join(dict.fromkeys(map(name_of, tasks)))
        raise UserError(f"these studies have no run {unknown[0]!r} for this network. Choose from {known}.")
    return [t for t in tasks if name_of(t) in names]


def recorded(folder: Path, roots: Sequence[DataRoot]) -> list[str]:
    """Sequences of these data sets that have runs already."""
    return [s for r in roots for s in r.sequences() or () if (folder / f"{r.name}-{s}.json").is_file()]


def kept(runner: Runner, plans: Sequence[VideoPlan]) -> dict[str, dict[str, VideoRuns]]:
    """Every finished run on these videos with these weights, asked for now or before: data set -> video -> runs."""
    policies = [Policy(p) for p in ("wo_RS", "RS1", "RS4")]
    policies += [Policy(f"{kind}-{seed}") for kind in ("random", "random4") for seed in range(KEPT_POLICIES)]
    tasks = [Task(FULL, p) for p in policies]
    tasks += [Task(m, p) for m in (*ABLATIONS, *BASELINES) for p in policies[:3] if _possible(runner, m.name)]
    out: dict[str, dict[str, VideoRuns]] = {}
    for plan in plans:
        runs_of_video: dict[RunName, list] = {}
        for task, rounds in runner.all_results(plan, tasks):
            runs_of_video[task.method.name, task.policy.name] = rounds
        if runs_of_video:
            out.setdefault(plan.dataset, {})[plan.sequence.name] = runs_of_video
    return out


def _played(argv: Sequence[str]) -> list[str]:
    """The arguments without those that only concern the page."""
    words = list(argv)
    while "--note" in words:
        at = words.index("--note")
        del words[at : at + 2]
    return [w for w in words if w != "--page-only"]


def _names(text: str | None) -> list[str] | None:
    """Names separated by commas; `None` where none are given."""
    return [name for name in text.split(",") if name] if text else None


def _possible(runner: Runner, method: str) -> bool:
    return method in {t.method.name for t in tasks_for(runner.network, STUDIES, random=0)}


def about(options: argparse.Namespace, plans: Sequence[VideoPlan], argv: Sequence[str]) -> About:
    """What the page says of its making; folders of data sets by name only, they differ from machine to machine."""
    info = runs.describe_checkpoint(options.checkpoint)
    # Folders are named differently on every machine: data sets are shown by name, other absolute paths by their end.
    roots = {text: DataRoot.parse(text).name for text in options.davis_root}
    words = [
        f"{roots[w]}=FOLDER" if w in roots else Path(w).name if Path(w).is_absolute() else w for w in _played(argv)
    ]
    description = f", {info.description}" if info.description else ""
    return About(
        command=shlex.join(["python", "-m", "libs.studies", *words]),
        checkpoint=f"{info.name}{description}, SHA-256 {info.sha256[:16]}",
        date=runs.now(),
        protocols={p.key: protocol_of(p, options.rounds) for p in plans},
        notes=tuple(options.note),
    )
