"""What the command lines of the studies have in common."""

from __future__ import annotations

import argparse


def study_parser(program: str, description: str | None) -> argparse.ArgumentParser:
    """A parser with the options that every command of the studies has; defaults are shown in brackets."""
    parser = argparse.ArgumentParser(
        prog=f"python -m {program}",
        description=description,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add(
        "--davis-root",
        action="append",
        required=True,
        metavar="[NAME=]FOLDER",
        help="data set in DAVIS layout, repeatable; its name in the tables is the folder's, or its parent's for DAVIS",
    )
    add("--checkpoint", default="compact", help="compact, davis, youtube or a path [%(default)s]")
    add("--device", default="auto", help="auto, cpu, cuda, cuda:1, ... [%(default)s]")
    add("--threads", type=int, default=1, help="CPU threads; several processes use cores better [%(default)s]")
    return parser
