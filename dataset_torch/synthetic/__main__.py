"""Render a store of synthetic clips: `python -m dataset_torch.synthetic --material FOLDER --out FOLDER --count N`."""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import fields
from pathlib import Path

from dataset_torch.errors import UserError
from dataset_torch.synthetic.recipe import Recipe, changed_recipe, check_recipe, in_words
from dataset_torch.synthetic.shards import render_many


def main(arguments: list[str] | None = None) -> int:
    """Entry point; returns the exit status (2 for bad input)."""
    defaults = " ".join(f"{field.name}={in_words(field.name)}" for field in fields(Recipe))
    parser = argparse.ArgumentParser(
        prog="python -m dataset_torch.synthetic",
        description=__doc__,
        epilog=f"What --set changes, with its defaults: {defaults}",
    )
    parser.add_argument(
        "--material",
        type=Path,
        nargs="+",
        action="extend",
        required=True,
        help="folders with cutouts/, actors/, backgrounds/, stills/; what they hold is put together",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the clips; those already there are kept")
    parser.add_argument("--count", type=int, required=True, help="number of clips")
    parser.add_argument("--seed", type=int, default=0, help="another one gives other clips [0]")
    parser.add_argument("--workers", type=int, default=1, help="processes [1]")
    parser.add_argument("--steps", type=int, default=Recipe.steps, help=f"frames per clip [{Recipe.steps}]")
    parser.add_argument(
        "--size",
        type=int,
        nargs=2,
        default=(Recipe.height, Recipe.width),
        metavar=("HEIGHT", "WIDTH"),
        help=f"pixels of a frame [{Recipe.height} {Recipe.width}]",
    )
    parser.add_argument(
        "--recoloured-parts",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="of objects that get a part of another colour [0]",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="change how often things happen (dataset_torch/synthetic/recipe.py says what each is), repeatable",
    )
    options = parser.parse_args(arguments)
    if not 0 <= options.recoloured_parts <= 1:
        parser.error(f"--recoloured-parts is a share between 0 and 1, not {options.recoloured_parts:g}")
    height, width = options.size
    recipe = Recipe(steps=options.steps, height=height, width=width, recoloured_parts=options.recoloured_parts)
    for name, lowest in (("count", 0), ("seed", 0), ("workers", 1)):
        if getattr(options, name) < lowest:
            parser.error(f"--{name} is {lowest} or more, not {getattr(options, name)}")
    started = time.perf_counter()
    try:
        recipe = changed_recipe(recipe, options.set)
        check_recipe(recipe)
        made = render_many(
            options.out, options.count, options.material, workers=options.workers, seed=options.seed, recipe=recipe
        )
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    seconds = time.perf_counter() - started
    print(f"{made} clips rendered in {seconds:.0f} s, {options.count - made} were there already")
    return 0


if __name__ == "__main__":
    sys.exit(main())
