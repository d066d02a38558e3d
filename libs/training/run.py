"""A run from its options to its end: what train.py does after it has read the command line."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from libs.device import check_training, device_of_process, set_threads
from libs.training.board import Board
from libs.training.data import open_set, validation_clips
from libs.training.engine import Engine, recipe_in_words
from libs.training.folder import claim
from libs.training.interruption import Interruption
from libs.training.parallel import Processes
from libs.training.recipe import Recipe
from libs.training.setup import build_network, started_network
from libs.training.validation import validate_clips
from networks.interface import GuidedNetwork

Say = Callable[..., None]


@dataclass(frozen=True)
class RunOptions:
    """What a run is given beside its recipe; see `train.py --help`."""

    data: Sequence[str]
    out: Path
    validation: str | None = None
    start: str | None = None
    backbone: Path | None = None
    device: str = "auto"
    threads: int = 0
    minutes: float = 0


def train(recipe: Recipe, options: RunOptions) -> None:
    """Run or resume.  Of several processes the first alone writes, prints and brings the weights."""
    set_threads(options.threads)
    device = device_of_process(options.device)
    check_training(device)
    first = os.environ.get("RANK", "0") == "0"
    with claim(options.out) if first else nullcontext():
        say = partial(print, flush=True) if first else (lambda *_: None)
        data = [open_set(specification) for specification in options.data]
        held_out = validation_clips(options.validation, recipe.validation_clips) if options.validation and first else []
        network = _network(recipe, options, say) if first else build_network(recipe, pretrained=False)
        processes = Processes.start(device)
        engine = Engine(
            network.to(device),
            recipe,
            data,
            options.out,
            validator=(lambda n: validate_clips(n, held_out)) if held_out else None,
            validated_on=f"{options.validation} ({len(held_out)} clips)" if held_out else "",
            processes=processes,
            board=_board(options.out, say) if first else None,
            say=say,
        )
        _run(engine, options.minutes, say)
        processes.stop()


def _network(recipe: Recipe, options: RunOptions, say: Say) -> GuidedNetwork:
    """What the run begins with; a run that is resumed brings its own weights."""
    if (options.out / "state.pth").is_file():
        return build_network(recipe, pretrained=False)
    if not options.start:
        return build_network(recipe, backbone=options.backbone)
    network, differences = started_network(recipe, options.start)
    say("; ".join([f"starts from {options.start}", *differences]))
    return network


def _board(folder: Path, say: Say) -> Board:
    board = Board(folder / "board")
    if not board.is_there:
        say("TensorBoard is not written (pip install tensorboard); log.csv has the same figures")
    return board


def _run(engine: Engine, minutes: float, say: Say) -> None:
    """From where the run is to its end, or until it is stopped."""
    state, steps = engine.state, engine.recipe.steps
    began = "resumed" if engine.resume() else "new run"
    say(f"{began}: step {state.step} of {steps}")
    for change in engine.changes:
        say(f"notice: since this run began, {change}; it does not go on exactly as it would have")
    if engine.forgotten:
        say(f"notice: {engine.forgotten}: figures so far do not compare, and best.pth is chosen anew")
    _say_sets(engine, say)
    say(recipe_in_words(engine.recipe))
    end = time.monotonic() + 60 * minutes if minutes else float("inf")
    with Interruption() as interruption:
        engine.run(stop=lambda: interruption.came or time.monotonic() > end)
    _say_sets(engine, say)
    ended = "done" if state.step >= steps else "stopped, and goes on with the same command"
    best = f"best validation {state.best:.4f}" if state.best >= 0 else "no validation"
    say(f"{ended}: step {state.step} of {steps}, {best}")


def _say_sets(engine: Engine, say: Say) -> None:
    for one in engine.data:
        say(f"{one.specification}: {one.source.summary()}")
