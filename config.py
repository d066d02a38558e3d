"""Every setting of every script, in one dataclass.

Edit a default here, or override it for one run; the command line wins over the environment, the environment over this
file::

    python IVOS_main_DAVIS.py --davis-root /data/DAVIS --checkpoint davis --guidance wo_RS,RS4
    GIS_DAVIS_ROOT=/data/DAVIS GIS_CHECKPOINT=davis python IVOS_main_DAVIS.py

The field `davis_root` is `--davis-root` on the command line and `GIS_DAVIS_ROOT` in the environment.  The comment
behind a field is its help text.  Lists are written with commas, `none` unsets a field that may be unset, and a bare
`--flag` means true.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import os
import re
import sys
import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, NoReturn, Union, get_args, get_origin, get_type_hints

from dataset_torch.errors import UserError

ROOT = Path(__file__).resolve().parent
SAMPLE = ROOT / "dataset_torch" / "sample"

Guidance = Literal["wo_RS", "RS1", "RS4"]
Metric = Literal["J", "F", "J_AND_F"]


@dataclass(frozen=True)
class Config:
    """Settings; the comment behind a field is its help text, one above fields the title of their group."""

    # Network
    checkpoint: str = "compact"  # compact (shipped), davis, youtube (published; see checkpoints/README.md), or a path
    device: str = "auto"  # auto (CUDA, else MPS, else CPU), cpu, cuda, cuda:1, mps
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"  # float32, parts in bfloat16 if the CPU can
    threads: int = 0  # CPU threads; 0 = as many as there are cores
    flex_attention: bool = False  # published network: the transfer through PyTorch's flex attention, for CUDA
    compile: bool = False  # let torch.compile make code for the network; needs a C++ compiler, minutes to warm up

    # Results
    results_dir: Path = ROOT / "results"  # every run gets a folder of its own here
    run_name: str | None = None  # name of that folder; none = made from checkpoint, guidance and metric
    resume: bool = True  # go on with a run that was stopped; false starts again from nothing
    save_masks: bool = False  # write the masks of every round as palette PNGs
    pictures: bool = True  # draw the pictures of the report (costs about a tenth of a second per round)

    # What is evaluated
    guidance: tuple[Guidance, ...] = ("wo_RS", "RS4")  # wo_RS (no proposal), RS1, RS4; several run one after another
    metric: tuple[Metric, ...] = ("J_AND_F",)  # what the robot looks for and the AUC is made of: J, F, J_AND_F
    rounds: int | None = None  # interactions per video; none = as published (DAVIS 8, YouTube-iVOS 4)

    # DAVIS
    davis_root: Path = SAMPLE / "DAVIS"  # folder with JPEGImages, Annotations, ImageSets, Scribbles
    davis_subset: str = "val"  # name of the list in ImageSets/2017, without .txt
    davis_sequences: tuple[str, ...] = ()  # only these sequences; empty = the whole subset
    scribbles: Literal["auto", "files", "robot"] = "auto"  # first round: data set's files, robot, or files where any
    time_limit: float | None = None  # seconds per object for all rounds; none = off (published: 240, by the framework)

    # YouTube-iVOS
    youtube_root: Path = SAMPLE / "YouTube"  # folder with train/JPEGImages, train/Annotations, train/meta.json
    youtube_points: Path | None = None  # folder of the published point_info_05.json ..; none = make points
    youtube_point_counts: tuple[int, ...] = (5, 10, 20, 50)  # points per object in round 1, one evaluation each
    youtube_videos: Path | None = None  # text file, one video name a line; none = those of the points file, else all
    youtube_repeat_frames: bool = False  # whether the robot may scribble again on a frame that was annotated
    youtube_absent: Literal["score", "skip"] = "score"  # frames without the object: scored as DAVIS does, or left out

    # Protocol; none = what the network was published or trained with
    short_side: int | None = None  # shorter side in pixels that frames are worked on at; 0 = their own size
    guidance_rule: Literal["auto", "published", "improved"] = "auto"  # improved: by expected help; auto: by the network
    range_proportion: float = 0.99  # share of the frames towards another annotated frame that a round visits
    second_opinions: int | None = None  # times at most the first frame is judged again; none = the network's own
    crossings: int | None = None  # annotated frames that a round judges again, to each side; none = the network's own
    memory_limit: int = 3  # annotated frames that each frame reads at most; 0 = all
    wrap_scribbles: bool = False  # published fault: strokes at the upper and left border appear at the opposite one
    repeat_memory: bool | None = None  # published: a frame annotated twice is in the memory twice; false: once
    score_foreground: Literal["over_objects", "over_channels"] = "over_objects"  # published network's R-score region

    # Memory
    storage: Literal["float32", "uint16", "uint8"] = "uint16"  # how the probabilities of frames are kept
    feature_budget_mb: int = 640  # frame features kept between rounds, megabytes
    feature_spill: Literal["none", "memory", "disk"] = "none"  # where features beyond that go, in half precision
    feature_spill_mb: int = 8192  # how much may go there, megabytes
    frames_ahead: int = 4  # frames read and resized ahead of the network, if it leaves a core for that; 0 = none

    # App (IVOS_app.py)
    video: Path | None = None  # video file or folder of frames to open; none = the sample, or a choice from the folders
    folders: tuple[Path, ...] = ()  # folders that the page may open videos from, besides the given video
    workspace: Path | None = None  # folder that sessions are kept in; none = next to each video
    host: str = "127.0.0.1"  # address to listen on; any but a loopback address demands a token
    port: int = 8000  # port to listen on; 0 = any free one
    token: str | None = None  # what the page's first visit must show; none = a random one where one is demanded
    allowed_hosts: tuple[str, ...] = ()  # further names of this machine that the address in the browser may have
    upload_limit_mb: int = 512  # largest file that the page may upload, megabytes
    prediction_cache_mb: int = 256  # predictions of a session held in memory, megabytes; the rest is on disk
    frame_cache_mb: int = 256  # decoded frames of a video file held in memory, megabytes
    undo_steps: int = 100  # how many steps can be undone
    davis: str | None = None  # sequence of davis_root for the real-user evaluation, which times a person at work
    study_guidance: Guidance = "RS4"  # what that person is offered: wo_RS (nothing), RS1, RS4
    study_truth: bool = False  # let that person see the ground truth beside the frame


def setting_names() -> list[str]:
    """The fields' names, in order."""
    return [f.name for f in fields(Config)]


def parse_config(
    argv: Sequence[str] | None = None,
    *,
    description: str = "",
    environment: dict | None = None,
    positional: str | None = None,
    groups: Sequence[str] | None = None,
) -> Config:
    """The settings from this file, the environment and the command line (the later wins).

    `argv` defaults to the program's own arguments, `environment` to `os.environ`; `positional` is the field that may be
    given without its name, anywhere.  `groups` are those that `--help` shows, in their order (by default all; with a
    positional, the app's); the others' options are understood all the same.  Raises `UserError` for a value that its
    field cannot take; unknown arguments end the program with one line and status 2, as `argparse` does.
    """
    environment = dict(os.environ) if environment is None else environment
    hints, comments = get_type_hints(Config), _comments()
    shown = groups if groups is not None else APP_GROUPS if positional is not None else None
    parser = _Parser(
        usage=f"%(prog)s{f' [{positional.upper()}]' if positional else ''} [--OPTION VALUE ..]",
        description=description or None,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="Every option can be set in the environment too (GIS_ and its name in capitals), or in config.py.",
        allow_abbrev=False,
    )
    for title, remark, names in _groups(first=shown or ()):
        hidden = shown is not None and title.partition(" (")[0] not in shown
        group = parser if hidden else parser.add_argument_group(title, remark or None)
        for f in (f for f in fields(Config) if f.name in names):
            text = f"{comments[f.name]} [{_shown(f.default)}]".replace("%", "%%")
            group.add_argument(
                _option(f.name),
                dest=f.name,
                metavar=_metavar(hints[f.name]),
                help=argparse.SUPPRESS if hidden else text,
                **({"nargs": "?", "const": "true"} if hints[f.name] is bool else {}),
            )
    known, rest = parser.parse_known_args(argv)
    arguments = vars(known)
    if positional is not None and arguments[positional] is None and len(rest) == 1 and not rest[0].startswith("-"):
        arguments[positional] = rest.pop()
    if rest:
        parser.error(_not_understood(rest))
    values: dict[str, Any] = {}
    for f in fields(Config):
        variable = "GIS_" + f.name.upper()
        if arguments[f.name] is not None:
            values[f.name] = convert(arguments[f.name], hints[f.name], _option(f.name))
        elif variable in environment:
            values[f.name] = convert(environment[variable], hints[f.name], variable)
    unknown = sorted(
        n for n in environment if n.startswith("GIS_") and n[4:].lower() not in hints and n not in _OTHER_VARIABLES
    )
    if unknown:
        raise UserError(f"the environment variable {unknown[0]} names no setting. `--help` lists them all.")
    config = Config(**values)
    _check(config)
    return config


# Groups of `Config`, by their titles, that the scripts use; the first in `--help` is what most come for.
_EVERYWHERE = ("Network", "Results", "Protocol", "Memory")
DAVIS_GROUPS = ("What is evaluated", "DAVIS", *_EVERYWHERE)
YOUTUBE_GROUPS = ("What is evaluated", "YouTube-iVOS", *_EVERYWHERE)
APP_GROUPS = ("App", *_EVERYWHERE, "DAVIS")  # the real-user evaluation is on a sequence of DAVIS

SECRETS = ("token",)  # settings that no record shows
_OTHER_VARIABLES = {"GIS_CHROMIUM"}  # the browser that the tests take


def _check(config: Config) -> None:
    """Refuse values that no run could use."""
    positive: dict[str, Callable[[Any], bool]] = {
        "rounds": lambda v: v is None or v >= 1,
        "threads": lambda v: v >= 0,
        "range_proportion": lambda v: 0 <= v <= 1,
        "memory_limit": lambda v: v >= 0,
        "second_opinions": lambda v: v is None or v >= 0,
        "crossings": lambda v: v is None or v >= 0,
        "feature_budget_mb": lambda v: v >= 0,
        "feature_spill_mb": lambda v: v >= 0,
        "frames_ahead": lambda v: v >= 0,
        "short_side": lambda v: v is None or v == 0 or v >= 16,
        "port": lambda v: 0 <= v < 65536,
        "upload_limit_mb": lambda v: v >= 1,
        "prediction_cache_mb": lambda v: v >= 1,
        "frame_cache_mb": lambda v: v >= 1,
        "undo_steps": lambda v: v >= 1,
        "time_limit": lambda v: v is None or v > 0,
        "guidance": lambda v: len(v) > 0,
        "metric": lambda v: len(v) > 0,
        "youtube_point_counts": lambda v: len(v) > 0 and all(n >= 1 for n in v),
    }
    comments = _comments()
    for name, good in positive.items():
        value = getattr(config, name)
        if not good(value):
            raise UserError(f"--{name.replace('_', '-')} cannot be {_shown(value)}. It is: {comments[name]}.")


def convert(text: str, hint: Any, name: str) -> Any:
    """`text` as the type of a field.  Raises `UserError` that names the setting, the text and what is possible."""
    origin, arguments = get_origin(hint), get_args(hint)
    text = text.strip()
    if origin in (Union, types.UnionType):
        if text.lower() == "none":
            return None
        return convert(text, next(a for a in arguments if a is not type(None)), name)
    if origin is tuple:
        if text.lower() == "none":
            return ()
        return tuple(convert(part, arguments[0], name) for part in text.split(",") if part.strip())
    if origin is Literal:
        if text not in arguments:
            raise UserError(f"{name} cannot be {text!r}. Choose from {', '.join(arguments)}.")
        return text
    if hint is bool:
        if text.lower() in ("1", "true", "yes", "on"):
            return True
        if text.lower() in ("0", "false", "no", "off"):
            return False
        raise UserError(f"{name} is true or false, not {text!r}.")
    if hint in (int, float):
        try:
            number = hint(text)
        except ValueError:
            kind = "a whole number" if hint is int else "a number"
            raise UserError(f"{name} must be {kind}, not {text!r}.") from None
        if number != number or number in (float("inf"), float("-inf")):
            raise UserError(f"{name} must be a finite number, not {text!r}.")
        return number
    if not text:
        raise UserError(f"{name} is empty.")
    return Path(text).expanduser() if hint is Path else text


def as_dict(config: Config) -> dict[str, Any]:
    """The settings as plain JSON values, for the record of a run, which others may see: without secrets."""
    return {
        f.name: list(v) if isinstance(v := getattr(config, f.name), tuple) else str(v) if isinstance(v, Path) else v
        for f in fields(Config)
        if f.name not in SECRETS
    }


class _Parser(argparse.ArgumentParser):
    """Ends with one line, without the usage: all options of a script would hide what was wrong."""

    def error(self, message: str) -> NoReturn:
        print(f"{self.prog}: error: {message}; --help lists the options", file=sys.stderr)
        sys.exit(2)


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")


def _not_understood(words: Sequence[str]) -> str:
    """What to say of arguments that are none of ours."""
    mistyped = next((word.partition("=")[0] for word in words if word.startswith("-")), None)
    if mistyped is None:
        return f"did not understand '{' '.join(words)}'; put a path with spaces in quotes"
    close = difflib.get_close_matches(mistyped.replace("_", "-"), map(_option, setting_names()), n=1)
    return f"did not understand '{mistyped}'" + (f", did you mean {close[0]}?" if close else "")


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(map(str, value)) or "none"
    if isinstance(value, Path) and value.is_relative_to(ROOT):
        return str(value.relative_to(ROOT))
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _metavar(hint: Any) -> str:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return _metavar(next(a for a in arguments if a is not type(None)))
    if origin is tuple:
        return _metavar(arguments[0]) + ",.."
    if origin is Literal:
        return "|".join(arguments)
    return {bool: "true|false", int: "N", float: "X", Path: "PATH"}.get(hint, "TEXT")


def _comments() -> dict[str, str]:
    """Field name -> the comment behind it in this file, so that the help text exists once."""
    source = Path(__file__).read_text(encoding="utf-8")
    lines = source.splitlines()
    body = next(n for n in ast.parse(source).body if isinstance(n, ast.ClassDef) and n.name == "Config").body
    return {
        node.target.id: lines[node.end_lineno - 1].partition("  # ")[2].strip()
        for node in body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }


def _groups(first: Sequence[str] = ()) -> list[tuple[str, str, list[str]]]:
    """Title, remark and fields of every group, `first` before the others: a comment that stands above fields is `title`
    or `title; remark`."""
    groups: list[tuple[str, str, list[str]]] = []
    known = set(setting_names())
    for line in Path(__file__).read_text(encoding="utf-8").partition("class Config:")[2].splitlines():
        if match := re.match(r"    # (.+)", line):
            title, _, remark = match[1].partition("; ")
            groups.append((title, remark, []))
        elif (match := re.match(r"    (\w+): ", line)) and match[1] in known:
            groups[-1][2].append(match[1])
        elif line and not line.startswith(" "):
            break
    order = list(first)
    return sorted(groups, key=lambda g: order.index(n) if (n := g[0].partition(" (")[0]) in order else len(order))
