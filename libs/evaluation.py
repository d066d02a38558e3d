"""What both evaluations share: building the segmenter from the settings, and playing one round on it.

The other shared parts: `libs.runs` (a run's folder, settings, share of the work), `libs.reports` (records, tables,
pictures, page).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from libs import checkpoints, device
from libs.guidance import INTERACTIVE, PUBLISHED
from libs.interactions import FrameAnnotation
from libs.segmenter import Segmenter, SegmenterOptions
from libs.session import Session
from networks.compiled import compile_network
from networks.inference import prepare_for_inference
from networks.interface import GuidedNetwork

Progress = Callable[[int, int], None]  # frames done in this round, frames to do


@dataclass(frozen=True)
class RoundOutcome:
    """What one round gives to the evaluation."""

    masks: np.ndarray  # uint8 F x H x W of object ids
    scores: np.ndarray  # float64 F, R-scores; nan = not scored
    candidates: list[int] | None  # proposed frames, best first; None without guidance
    seconds: float  # from the annotation to all masks


def load_segmenter(config: Any, *, benchmark: str) -> Segmenter:
    """The segmenter that the settings ask for (`config` is a `config.Config`).

    The published network gets the published protocol of the benchmark (spec: evaluation.md): on `youtube`, shorter side
    480, cubic resizing, no blending, nearest-neighbour output.  A network with a working size of its own keeps it.
    Raises `UserError` for an unknown device, precision or checkpoint.
    """
    chosen = device.device_of_process(config.device)
    precision = device.Precision.chosen(config.precision)
    device.set_threads(config.threads)
    device.keep_float32_exact(chosen)
    if chosen.type == "cpu":
        device.keep_freed_memory()
    network = checkpoints.load_network(config.checkpoint)
    network.configure(score_foreground=config.score_foreground, flex_attention=config.flex_attention)
    options = segmenter_options(network, config, benchmark=benchmark)
    prepare_for_inference(network, bfloat16=config.precision == "auto" and device.computes_bfloat16(chosen))
    if config.compile:
        compile_network(network)
    return Segmenter(network, options=options, device=chosen, precision=precision.dtype)


def arithmetic(config: Any, segmenter: Segmenter) -> str:
    """What `precision` comes to on this machine, for the record of a run."""
    if config.precision != "auto":
        return config.precision
    return "float32, parts in bfloat16" if segmenter.network.in_bfloat16 else "float32"


def machinery(config: Any, segmenter: Segmenter) -> dict[str, Any]:
    """What computes: moves figures in their last digits, so that one run is of one kind (`runs.RunFolder.open`)."""
    return {"device": segmenter.device.type, "compile": config.compile, "flex_attention": config.flex_attention}


def segmenter_options(network: GuidedNetwork, config: Any, *, benchmark: str) -> SegmenterOptions:
    """The protocol for this network and benchmark, with what the settings override."""
    options = SegmenterOptions.for_network(
        network,
        range_proportion=config.range_proportion,
        memory_limit=config.memory_limit,
        wrap_scribbles=config.wrap_scribbles,
        storage=config.storage,
        feature_budget_bytes=config.feature_budget_mb << 20,
        feature_spill=config.feature_spill,
        feature_spill_bytes=config.feature_spill_mb << 20,
        frames_ahead=config.frames_ahead,
    )
    if config.second_opinions is not None:
        options = replace(options, second_opinions=config.second_opinions)
    if config.crossings is not None:
        options = replace(options, crossings=config.crossings)
    if config.repeat_memory is not None:
        options = replace(options, repeat_memory=config.repeat_memory)
    if benchmark == "youtube":
        options = replace(options, blend=False)
        if network.preferred_short_side is None:
            options = replace(options, short_side=480, resize_method="cubic", output_interpolation="nearest")
    if config.guidance_rule != "auto":
        options = replace(options, guidance=PUBLISHED if config.guidance_rule == "published" else INTERACTIVE)
    if config.short_side is not None:
        options = replace(options, short_side=config.short_side or None)
    return options


def run_round(
    segmenter: Segmenter,
    session: Session,
    annotation: FrameAnnotation,
    *,
    guidance: str = "wo_RS",
    progress: Progress | None = None,
) -> RoundOutcome:
    """Annotate, propagate to every frame of the round, and propose the next frames.

    An annotation without strokes is the robot's way to say that there is nothing to correct: the round is recorded and
    changes nothing.  In the very first round too, which leaves everything background (no object was marked).
    """
    started = time.perf_counter()
    if annotation.is_empty:
        segmenter.record_empty_round(session, annotation.frame)
    else:
        segmenter.annotate(session, annotation)
        total = 1 + len(segmenter.frames_to_visit(session))
        if progress:
            progress(1, total)
        done = 1
        for done, _ in enumerate(segmenter.propagate(session), 2):
            if progress:
                progress(done, total)
        if progress and done < total:  # opinions that were not asked for
            progress(total, total)
    masks = session.masks()
    device.synchronise(segmenter.device)
    seconds = time.perf_counter() - started
    return RoundOutcome(masks, session.scores, session.recommend(guidance), seconds)
