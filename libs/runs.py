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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from config import SECRETS, setting_names
from dataset_torch.atomic import write_atomic
from dataset_torch.errors import UserError
from libs import checkpoints
from libs.reports.records import CheckpointInfo

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
        cls, results_dir: Path, benchmark: str, *, settings: dict[str, Any], name: str | None, label: str, resume: bool
    ) -> RunFolder:
        """Make or find the folder `results/<benchmark>/<name>`; without a name, `label` and a digest of the settings.

        Raises `UserError` if the named folder holds a run with other settings, or if it cannot be written.
        `resume=False` deletes what the folder holds.
        """
        text = json.dumps(settings, indent=1, sort_keys=True)
        if name is not None and (not name or Path(name).name != name or name in (".", "..")):
            raise UserError(f"--run-name cannot be {name!r}: it must be one folder's name, without separators.")
        name = name or f"{label}-{hashlib.sha256(text.encode()).hexdigest()[:6]}"
        path = Path(results_dir) / benchmark / name
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
            try:
                earlier = json.loads(record.read_text(encoding="utf-8"))
            except (OSError, ValueError) as error:
                raise UserError(f"{record} is damaged ({error}). Start again with --resume false.") from error
            if earlier != json.loads(text):
                changed = sorted(k for k in {*earlier, *settings} if earlier.get(k) != json.loads(text).get(k))
                raise UserError(
                    f"{path} holds a run with other settings ({', '.join(changed)}). Choose another --run-name, or "
                    "--resume false to delete it and start again."
                )
        else:
            write_atomic(record, text + "\n")
        return cls(path, settings)


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
