"""Train a network, or go on with a run that was stopped or killed.

    python train.py                            # a try on the bundled sample, from the shipped weights
    # how the shipped checkpoint was made, from ImageNet weights:
    python train.py --data clips:CLIPS --validation clips:OTHERS
    python train.py --start-from CHECKPOINT --data ...               # go on from trained weights in a run of its own
    torchrun --nproc_per_node 4 train.py --recipe resnet50 ...       # several GPUs; the effective batch stays

Ctrl-C or SIGTERM ends a run after its present step, with everything saved; the same command goes on with it.

What a run consists of is described in libs/training/__init__.py; every recipe is a small file in libs/training/recipes.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path

from dataset_torch.errors import UserError
from libs.device import check_training, device_of_process, set_threads
from libs.training.board import Board
from libs.training.data import KINDS, open_set, validation_clips
from libs.training.engine import Engine, recipe_in_words
from libs.training.folder import claim
from libs.training.interruption import Interruption
from libs.training.parallel import Processes
from libs.training.recipe import RECIPES, Recipe, load_recipe
from libs.training.setup import build_network, started_network
from libs.training.validation import validate_clips
from networks.interface import GuidedNetwork

SAMPLE = f"davis:{Path(__file__).resolve().parent / 'dataset_torch' / 'sample' / 'DAVIS'}"


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Train a network, or go on with a run that was stopped or killed.")
    parser.add_argument("--recipe", choices=RECIPES, default="compact")
    kinds = "; ".join(f"{kind}:{what}" for kind, what in KINDS.items())
    parser.add_argument(
        "--data",
        action="append",
        metavar="KIND:PATH[*WEIGHT]",
        help=f"a set, repeatable (default: the sample): {kinds}",
    )
    parser.add_argument("--validation", metavar="KIND:PATH", help="the set that decides which weights are kept")
    parser.add_argument(
        "--out", type=Path, default=Path("workspace/training"), help="folder of the run; an unfinished one is resumed"
    )
    # torchrun takes a script's --start for its own --start-method; the short name is kept for one process.
    parser.add_argument(
        "--start-from", "--start", dest="start", metavar="CHECKPOINT", help="whose weights a new run starts from"
    )
    parser.add_argument(
        "--backbone", type=Path, metavar="PATH", help="torchvision's ImageNet weights, for recipe resnet50"
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="change a recipe's setting",
    )
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads (0: automatic)")
    parser.add_argument(
        "--minutes",
        type=float,
        default=0,
        help="stop after this time (0: at the recipe's end)",
    )
    options = parser.parse_args(argv)
    if not options.data:
        options.data, options.validation = [SAMPLE], options.validation or SAMPLE
        if options.recipe.startswith("compact"):  # the sample alone teaches little: go on from the shipped weights
            options.start = options.start or "compact"
    return options


def settings(pairs: list[str]) -> dict[str, int | float | str]:
    """`NAME=VALUE` pairs as plain values."""
    changes: dict[str, int | float | str] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals:
            raise UserError(f"--set {pair}: write NAME=VALUE, for example --set steps=1000.")
        for convert in (int, float, str):
            try:
                changes[name] = convert(text)
                break
            except ValueError:
                continue
    return changes


def train(options: argparse.Namespace) -> None:
    """Run or resume.  Of several processes the first alone writes, prints and brings the weights."""
    set_threads(options.threads)
    device = device_of_process(options.device)
    check_training(device)
    recipe = load_recipe(options.recipe, **settings(options.set))
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
        )
        _run(engine, options.minutes, say)
        processes.stop()


def _network(recipe: Recipe, options: argparse.Namespace, say: Callable[..., None]) -> GuidedNetwork:
    """What the run begins with; a run that is resumed brings its own weights."""
    if (options.out / "state.pth").is_file():
        return build_network(recipe, pretrained=False)
    if not options.start:
        return build_network(recipe, backbone=options.backbone)
    network, differences = started_network(recipe, options.start)
    say("; ".join([f"starts from {options.start}", *differences]))
    return network


def _board(folder: Path, say: Callable[..., None]) -> Board:
    board = Board(folder / "board")
    if not board.is_there:
        say("TensorBoard is not written (pip install tensorboard); log.csv has the same figures")
    return board


def _run(engine: Engine, minutes: float, say: Callable[..., None]) -> None:
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


def _say_sets(engine: Engine, say: Callable[..., None]) -> None:
    for one in engine.data:
        say(f"{one.specification}: {one.source.summary()}")


def main(argv: list[str] | None = None) -> int:
    """Entry point; errors a user can mend are one line and exit status 2."""
    try:
        train(arguments(argv))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:  # before the first step; later ones end the run in order
        print("interrupted before the first step", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
