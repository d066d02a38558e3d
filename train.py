"""Train a network, or go on with a run that was stopped or killed.

    python train.py                            # a try on the bundled sample, from the shipped weights
    # how the shipped checkpoint was made, from ImageNet weights:
    python train.py --data clips:CLIPS --validation clips:OTHERS
    torchrun --nproc_per_node 4 train.py --recipe resnet50 ...       # several GPUs; the effective batch stays

What a run consists of is described in libs/training/__init__.py; every recipe is a small file in libs/training/recipes.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from pathlib import Path

from dataset_torch.errors import UserError
from libs.device import check_training, device_of_process, set_threads
from libs.training.board import Board
from libs.training.data import KINDS, open_set, validation_clips
from libs.training.engine import Engine, recipe_in_words
from libs.training.parallel import Processes
from libs.training.recipe import RECIPES, load_recipe
from libs.training.setup import build_network, started_network
from libs.training.validation import validate_clips

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
    parser.add_argument("--start", help="checkpoint whose weights a new run starts from")
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
        options.start = options.start or "compact"  # the sample alone teaches little: go on from the shipped weights
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
    """Run or resume."""
    set_threads(options.threads)
    device = device_of_process(options.device)
    check_training(device)
    recipe = load_recipe(options.recipe, **settings(options.set))
    data = [open_set(specification) for specification in options.data]
    resumes = (options.out / "state.pth").is_file()
    if options.start:
        network, differences = started_network(recipe, options.start)
        print("; ".join([f"starts from {options.start}", *differences]), flush=True)
    else:
        network = build_network(recipe, pretrained=not resumes)
    processes = Processes.start(device)
    held_out = validation_clips(options.validation, recipe.validation_clips) if options.validation else []
    engine = Engine(
        network.to(device),
        recipe,
        data,
        options.out,
        validator=(lambda n: validate_clips(n, held_out)) if held_out else None,
        processes=processes,
        board=Board(options.out / "board") if processes.is_first else None,
    )
    began = "resumed" if engine.resume() else "new run"
    sets = ", ".join(f"{s.kind} {len(s.source)}" for s in data)
    print(f"{began}: step {engine.state.step}; {sets}", flush=True)
    print(recipe_in_words(recipe), flush=True)
    stopping: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: stopping.append(number))
    end = time.monotonic() + 60 * options.minutes if options.minutes else float("inf")
    engine.run(stop=lambda: bool(stopping) or time.monotonic() > end)
    processes.stop()
    print(
        f"done: step {engine.state.step}, best validation {engine.state.best:.4f}",
        flush=True,
    )


def main(argv: list[str] | None = None) -> int:
    """Entry point; errors a user can mend are one line and exit status 2."""
    try:
        train(arguments(argv))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
