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
import sys
from pathlib import Path

from dataset_torch.errors import UserError
from libs.scripts import exit_status

SAMPLE = f"davis:{Path(__file__).resolve().parent / 'dataset_torch' / 'sample' / 'DAVIS'}"


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    from libs.training.data import KINDS
    from libs.training.recipe import RECIPES, purpose, setting_names

    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="\n".join(["recipes:", *(f"  {name:15} {purpose(name)}" for name in RECIPES)]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--recipe",
        choices=RECIPES,
        default="compact",
        metavar="NAME",
        help="what the run does, one of those below [compact]",
    )
    kinds = "; ".join(f"{kind}:{what}" for kind, what in KINDS.items())
    parser.add_argument(
        "--data", action="append", metavar="KIND:PATH[*WEIGHT]", help=f"a set, repeatable: {kinds} [the sample]"
    )
    parser.add_argument(
        "--validation",
        metavar="KIND:PATH",
        help="the set that decides which weights are kept [the sample; with --data none]",
    )
    out = Path("workspace/training")
    parser.add_argument(
        "--out", type=Path, default=out, help=f"folder of the run; an unfinished one is resumed [{out}]"
    )
    # torchrun takes a script's --start for its own --start-method; the short name is kept for one process.
    parser.add_argument(
        "--start-from",
        "--start",
        dest="start",
        metavar="CHECKPOINT",
        help="whose weights a new run starts from [ImageNet's; without --data the shipped ones]",
    )
    parser.add_argument(
        "--backbone", type=Path, metavar="PATH", help="torchvision's ImageNet weights, for recipe resnet50"
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help=f"change a recipe's setting, repeatable: {', '.join(setting_names())}",
    )
    parser.add_argument(
        "--device", default="auto", help="auto (CUDA, else MPS, else CPU), cpu, cuda, cuda:1, mps [auto]"
    )
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0 = as many as there are cores [0]")
    parser.add_argument(
        "--minutes",
        type=float,
        default=0,
        help="stop after this time; saving and a last validation follow, which takes a minute or more [0: the recipe's "
        "end]",
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


def train(argv: list[str] | None = None) -> None:
    """Read the command line, run or resume."""
    options = vars(arguments(argv))
    # Here, so that --help and wrong options answer before PyTorch is loaded, and Ctrl-C meanwhile has no traceback.
    from libs.training import run
    from libs.training.recipe import load_recipe

    recipe = load_recipe(options.pop("recipe"), **settings(options.pop("set")))
    run.train(recipe, run.RunOptions(**options))


def main(argv: list[str] | None = None) -> int:
    """The exit status: 0, 2 for what the user can mend, 130 after Ctrl-C (later than the first step it is 0)."""
    return exit_status(lambda: train(argv), on_interrupt="interrupted before the first step")


if __name__ == "__main__":
    sys.exit(main())
