"""What one run of an evaluation is: its folder, its settings, its share of the work, what is noted about it."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import json
import os
import platform
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch

from config import SECRETS, setting_names
from dataset_torch.atomic import write_atomic
from dataset_torch.errors import UserError
from libs import checkpoints
from libs.reports.records import CheckpointInfo
from networks.interface import GuidedNetwork

PACKAGES = ("torch", "torchvision", "davisinteractive", "numpy", "opencv-python-headless", "pandas", "scikit-image")


@dataclass(frozen=True)
class Shard:
    """This process's share of the samples: those whose number is `rank` modulo `count`."""

    rank: int = 0
    count: int = 1

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Shard:
        """What `torchrun` says (`RANK`, `WORLD_SIZE`); the whole work without it.  Raises `UserError` for nonsense."""
        environment = os.environ if environment is None else environment
        try:
            shard = cls(int(environment.get("RANK", 0)), int(environment.get("WORLD_SIZE", 1)))
        except ValueError as error:
            raise UserError(f"RANK and WORLD_SIZE must be whole numbers ({error}); torchrun sets them.") from error
        if not 0 <= shard.rank < shard.count:
            raise UserError(f"RANK {shard.rank} is not possible with WORLD_SIZE {shard.count}; torchrun sets both.")
        return shard

    @property
    def is_main(self) -> bool:
        """Whether this process writes what all share."""
        return self.rank == 0

    def takes(self, number: int) -> bool:
        """Whether the sample with this number (from 0) is this process's."""
        return number % self.count == self.rank


@dataclass(frozen=True)
class RunFolder:
    """The folder of one run.  The same settings find the same folder again, and so go on where it stopped."""

    path: Path
    settings: dict[str, Any]  # what decides the figures: checkpoint, data, rounds, protocol

    @classmethod
    def open(
        cls,
        results_dir: Path,
        benchmark: str,
        *,
        settings: dict[str, Any],
        name: str | None,
        label: str,
        resume: bool,
        machinery: dict[str, Any] | None = None,
    ) -> RunFolder:
        """Make or find the folder `results/<benchmark>/<name>`; without a name, `label` and a digest of the settings.

        `machinery` is what moves figures in their last digits only, such as the kind of device: a run goes on with the
        same, but one whose record does not name it (an older one) goes on with any.

        Raises `UserError` if the named folder holds a run with other settings, or if it cannot be written.
        `resume=False` deletes what the folder holds.
        """
        text = json.dumps(settings, indent=1, sort_keys=True)
        whole = json.loads(json.dumps({**settings, **(machinery or {})}))  # as it is read back: lists, not tuples
        if name is not None and (not name or Path(name).name != name or name in (".", "..")):
            raise UserError(f"--run-name cannot be {name!r}: it must be one folder's name, without separators.")
        parent = Path(results_dir) / benchmark
        path = parent / (name or f"{label}-{hashlib.sha256(text.encode()).hexdigest()[:6]}")
        if name is None:
            with contextlib.suppress(UserError):  # damaged: told below, unless it is to be deleted
                other = _changes(path / "settings.json", whole, optional=machinery or {})
                if other and set(other) <= set(machinery or {}):  # the same run on another kind of device: beside it
                    text = json.dumps(whole, indent=1, sort_keys=True)
                    path = parent / f"{label}-{hashlib.sha256(text.encode()).hexdigest()[:6]}"
        record = path / "settings.json"
        if not resume and path.is_dir() and record.is_file():
            try:
                shutil.rmtree(path)
            except OSError as error:
                raise UserError(
                    f"{path} cannot be deleted ({error.strerror}). Choose another --results-dir or --run-name."
                ) from error
        # Hidden files are those that another process is just writing its settings to.
        elif path.is_dir() and any(p.name[0] != "." for p in path.iterdir()) and not record.is_file():
            raise UserError(f"{path} holds files that are no run of ours. Choose another --run-name or --results-dir.")
        if record.is_file():
            if changed := _changes(record, whole, optional=machinery or {}):
                raise UserError(
                    f"{path} holds a run with other settings ({_told(changed, benchmark)}). Choose another --run-name, "
                    "or --resume false to delete it and start again."
                )
        else:
            write_atomic(record, json.dumps(whole, indent=1, sort_keys=True) + "\n")
        return cls(path, settings)


def _changes(record: Path, settings: dict[str, Any], *, optional: Collection[str] = ()) -> dict[str, tuple[Any, Any]]:
    """What the record of a run, if there is one, has other than `settings`: key -> (there, now).

    `optional` keys count only where the record has them.  Raises `UserError` if it is damaged.
    """
    if not record.is_file():
        return {}
    try:
        there = json.loads(record.read_text(encoding="utf-8"))
        keys = [k for k in {**there, **settings} if k in there or k not in optional]
        return {k: (there.get(k), settings.get(k)) for k in keys if there.get(k) != settings.get(k)}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise UserError(f"{record} is damaged ({error}). Start again with --resume false.") from error


# What a run's settings are called in its record -> the option that sets them, where that is another name.
_OPTIONS = {
    "guidance": "guidance-rule",
    "ranking": "metric",
    "absent": "youtube-absent",
    "repeat_frames": "youtube-repeat-frames",
    "videos": "youtube-videos",
}


def _told(changed: dict[str, tuple[Any, Any]], benchmark: str) -> str:
    """The changes by the options that the user knows, with both values."""
    found: dict[str, tuple[Any, Any]] = {}
    for key, (there, now) in changed.items():
        if key in ("segmenter", "simulator") and isinstance(there, dict) and isinstance(now, dict):
            for inner in sorted({*there, *now}):
                found[_OPTIONS.get(inner, inner)] = there.get(inner), now.get(inner)
        elif key == "variants":  # labels such as J_AND_F-RS4
            for name, part in (("metric", 0), ("guidance", 2)):
                found[name] = tuple(
                    list(dict.fromkeys(v.rpartition("-")[part] for v in side or ())) for side in (there, now)
                )
        elif key == "points":  # point count -> digest of the points, or "made"
            found["youtube-point-counts"] = list(there or {}), list(now or {})
            kept = [c for c in there or {} if c in (now or {})]
            found["youtube-points"] = tuple([side[c][:8] for c in kept] for side in (there, now)) if kept else ("", "")
        elif key == "data":
            found[f"{benchmark}-root"] = there, now
        elif key == "sequences":
            found["davis-sequences, --davis-subset"] = there, now
        else:
            found[key if key == "guidance" else _OPTIONS.get(key, key)] = there, now
    known = {name.replace("_", "-") for name in setting_names()}
    parts = []
    for name, (there, now) in found.items():
        if there != now:
            name = name.replace("_", "-")
            title = f"--{name}" if name in known or "," in name else name
            there, now = _in_short(there), _in_short(now)
            parts.append(f"{title}: there {there}, now {now}" if there != now else f"{title}: another one now")
    return "; ".join(parts)


def _in_short(value: Any) -> str:
    """A setting as it is written on the command line, cut where it is long."""
    if isinstance(value, dict):
        value = [k if isinstance(v, list) else f"{k} {v}" for k, v in value.items()]
    if isinstance(value, list):
        text = ",".join(map(str, value))
        text = text if len(text) <= 60 else f"{text[:50]}.. ({len(value)})"
    else:
        text = str(value).lower() if isinstance(value, bool) else "none" if value is None else str(value)
    if len(text) == 64 and set(text) <= set("0123456789abcdef"):  # a checkpoint's SHA-256
        return text[:8]
    return text or "none"


class Clock:
    """When a run started and how long it took, over restarts; kept in the run's folder by the main process."""

    def __init__(self, path: Path, shard: Shard):
        self._path, self._shard = path, shard
        self._since = time.monotonic()
        self.started, self._before = now(), 0.0
        if path.is_file():
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):  # damaged: the time starts anew
                content = json.loads(path.read_text(encoding="utf-8"))
                self.started, self._before = str(content["started"]), float(content["seconds"])
        self.save()

    @property
    def seconds(self) -> float:
        """Wall clock so far."""
        return self._before + time.monotonic() - self._since

    def save(self) -> None:
        """Put the time so far on disk."""
        if self._shard.is_main:
            write_atomic(self._path, json.dumps({"started": self.started, "seconds": self.seconds}))


def describe_checkpoint(name_or_path: str) -> CheckpointInfo:
    """Name, digest and kind of the weights, for the record.  Raises `UserError` as the loader does."""
    path = checkpoints.resolve(name_or_path)
    content = checkpoints.read_checkpoint(path)
    if content.published:
        description = "published weights"
    else:
        trained = [f"{key} {content.meta[key]}" for key in ("recipe", "passes") if key in content.meta]
        description = str(content.meta.get("description", ", ".join(trained)))
    return CheckpointInfo(path.name, checkpoints.sha256(path), content.architecture, description)


def describe_weights(name_or_path: str, brought: GuidedNetwork | None) -> CheckpointInfo:
    """Of the checkpoint that the settings name, or of the network that the caller brought in its place."""
    return describe_checkpoint(name_or_path) if brought is None else describe_network(brought)


def describe_network(network: GuidedNetwork) -> CheckpointInfo:
    """The same of a network that the caller brought: its architecture's name, and its file's digest or its tensors'."""
    digest = hashlib.sha256()
    for name, tensor in network.state_dict().items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
    identity = network.weights_id or digest.hexdigest()
    return CheckpointInfo(network.architecture, identity, network.architecture, "brought by the calling program")


def versions() -> dict[str, str]:
    """Package -> version of what the figures could depend on, and Python's."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def git_commit(folder: Path) -> str:
    """The commit that is checked out, with `-dirty` if files differ from it; empty outside a repository."""
    git = ["git", "-C", str(folder)]
    try:
        commit = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True, timeout=10)
        status = subprocess.run(
            [*git, "status", "--porcelain", "-uno"], capture_output=True, text=True, check=True, timeout=10
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return commit.stdout.strip() + ("-dirty" if status.stdout.strip() else "")


def command_line(argv: Sequence[str] | None = None) -> str:
    """The command that starts this run again, `GIS_` variables included, secrets left out."""
    argv = list(sys.argv if argv is None else argv)
    for option in (f"--{name}" for name in SECRETS):
        while option in argv:
            at = argv.index(option)
            del argv[at : at + 2]
        argv = [word for word in argv if not word.startswith(f"{option}=")]
    settings = {f"GIS_{name.upper()}" for name in setting_names() if name not in SECRETS}
    variables = [f"{k}={shlex.quote(v)}" for k, v in sorted(os.environ.items()) if k in settings]
    return " ".join([*variables, "python", *map(shlex.quote, [Path(argv[0]).name, *argv[1:]])])


def now() -> str:
    """The time, ISO 8601 in UTC, to the second."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def wait_until(ready: Callable[[], bool], *, what: str, every: float = 1.0) -> None:
    """Wait for the other processes' part of the work; says what it waits for once."""
    told = False
    while not ready():
        if not told:
            print(f"Waiting for the other processes: {what}.", flush=True)
            told = True
        time.sleep(every)
