"""One contact sheet per round: frames before and after, ground truth, and a strip of J and R-score over the frames."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image, ImageDraw

from dataset_torch.frames import FrameSource
from libs.interactions import FrameAnnotation
from libs.reports import drawing
from libs.reports.drawing import ACCENT, INK, MUTED, PAPER, PROPOSED, SCORE, as_hex
from libs.reports.records import RoundRecord, SampleRecord, Variant

SHEET_WIDTH = 1280
_TILE_HEIGHT, _GAP, _LEFT, _HEAD, _FOOT = 128, 6, 92, 40, 18
_MIN_COLUMNS, _MAX_COLUMNS = 4, 9


def picture_name(variant: Variant, sample: SampleRecord, number: int) -> str:
    """Path of a round's sheet relative to the run's folder."""
    return f"{variant.label}/pictures/{sample.name}-round{number}.jpg"


def write_round_picture(
    run_dir: str | Path,
    variant: Variant,
    sample: SampleRecord,
    record: RoundRecord,
    *,
    frames: FrameSource,
    masks: np.ndarray,
    previous_masks: np.ndarray | None,
    ground_truth: np.ndarray | None,
) -> str:
    """Draw the sheet of a round and return its path relative to `run_dir`, for `RoundRecord.picture`.

    `sample` holds the rounds before this one (they mark the annotated frames of the strip); `masks`, `previous_masks`
    (`None` in round 1) and `ground_truth` are uint8 F x H x W of ids.  Reads about eight frames and takes about a
    tenth of a second.
    """
    sheet = round_sheet(
        sample, record, frames=frames, masks=masks, previous_masks=previous_masks, ground_truth=ground_truth
    )
    name = picture_name(variant, sample, record.round)
    drawing.write_image(Path(run_dir) / name, sheet)
    return name


def round_sheet(
    sample: SampleRecord,
    record: RoundRecord,
    *,
    frames: FrameSource,
    masks: np.ndarray,
    previous_masks: np.ndarray | None,
    ground_truth: np.ndarray | None,
) -> np.ndarray:
    """The sheet as uint8 H x W x 3; see `write_round_picture`."""
    tile_height, tile_width, columns = _tile_size(sample.height, sample.width, sample.num_frames)
    shown = _frames_to_show(sample, record, columns)
    rows: list[tuple[str, np.ndarray | None]] = [
        ("before" if previous_masks is not None else "frames", previous_masks),
        ("after", masks),
    ]
    if ground_truth is not None:
        rows.append(("ground\ntruth", ground_truth))
    height = _HEAD + len(rows) * (tile_height + _GAP) + _FOOT
    width = _LEFT + len(shown) * (tile_width + _GAP)
    sheet = Image.new("RGB", (max(width, 700), height), PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((8, 8), f"Round {record.round}", font=drawing.font(15, bold=True), fill=INK)
    images = {f: frames.read(f) for f in shown}
    # Coloured by place, not by id: ids 2 and 9 would share a colour, 1 and 2 never do.
    places = np.zeros(256, np.uint8)
    for place, object_id in enumerate(sample.object_ids, 1):
        places[object_id] = place
    for row, (label, stack) in enumerate(rows):
        top = _HEAD + row * (tile_height + _GAP)
        draw.multiline_text((8, top + tile_height // 2 - 14), label, font=drawing.font(13), fill=MUTED)
        for column, frame in enumerate(shown):
            mask = None if stack is None else places[stack[frame]]
            tile = drawing.overlay_tile(images[frame], mask, tile_height, tile_width)
            if row == 0 and frame == record.annotated_frame and record.annotation is not None:
                tile = drawing.draw_annotation(tile, _renumbered(record.annotation, places))
            sheet.paste(Image.fromarray(tile), (_LEFT + column * (tile_width + _GAP), top))
    for column, frame in enumerate(shown):
        _label_column(draw, sample, record, frame, _LEFT + column * (tile_width + _GAP), tile_width, height)
    strip = strip_plot(sample, record, width=sheet.width)
    out = np.full((sheet.height + strip.shape[0], sheet.width, 3), 255, np.uint8)
    out[: sheet.height], out[sheet.height :] = np.asarray(sheet), strip
    return out


def _renumbered(annotation: FrameAnnotation, numbers: np.ndarray) -> FrameAnnotation:
    """The annotation with `numbers[id]` in place of every id."""
    scribbles = tuple(replace(s, object_id=int(numbers[s.object_id])) for s in annotation.scribbles)
    clicks = tuple(replace(c, object_id=int(numbers[c.object_id])) for c in annotation.clicks)
    return replace(annotation, scribbles=scribbles, clicks=clicks)


def strip_plot(sample: SampleRecord, record: RoundRecord, *, width: int = SHEET_WIDTH) -> np.ndarray:
    """J and R-score of every frame after the round, annotated and proposed frames marked: uint8 H x W x 3."""
    figure = Figure(figsize=(width / 100, 1.7), dpi=100, facecolor="white")
    axes = figure.add_axes((_LEFT / width, 0.22, 1 - (_LEFT + 14) / width, 0.54))
    x = np.arange(sample.num_frames)
    axes.plot(x, record.frame_means("J"), color=as_hex(INK), lw=1.6, marker=".", ms=4, label="J (mean of the objects)")
    axes.plot(x, record.scores, color=as_hex(SCORE), lw=1.3, marker=".", ms=3, label="R-score")
    earlier = [r.annotated_frame for r in sample.rounds if r.round < record.round and not r.empty]
    for frame in earlier:
        axes.axvline(frame, color=as_hex(ACCENT), lw=1, alpha=0.45, ls=":")
    if not record.empty:
        axes.axvline(record.annotated_frame, color=as_hex(ACCENT), lw=2, label="annotated now")
    if earlier:
        axes.plot([], [], color=as_hex(ACCENT), lw=1, alpha=0.6, ls=":", label="annotated before")
    if record.candidates:
        marks = list(record.candidates)
        axes.plot(marks, [1.09] * len(marks), "v", color=as_hex(PROPOSED), ms=7, clip_on=False, label="proposed next")
    axes.set(xlim=(-0.5, sample.num_frames - 0.5), ylim=(0, 1.02), yticks=(0, 0.5, 1))
    axes.tick_params(labelsize=8, length=3, colors=as_hex(MUTED))
    axes.set_xlabel("frame number in the video", fontsize=8, color=as_hex(MUTED), labelpad=1)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="upper right", ncols=5, fontsize=8, frameon=False, bbox_to_anchor=(1, 1.02), handlelength=1.6)
    return figure_pixels(figure)


def figure_pixels(figure: Figure) -> np.ndarray:
    """A figure drawn without any display: uint8 H x W x 3."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def figure_png(figure: Figure) -> bytes:
    """A figure as PNG, the same bytes for the same figure (no date, no version inside)."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _tile_size(height: int, width: int, num_frames: int) -> tuple[int, int, int]:
    """Height and width of a tile and how many columns fit, for any shape of video."""
    room = SHEET_WIDTH - _LEFT
    tile_height = _TILE_HEIGHT if width >= height else int(_TILE_HEIGHT * 1.35)
    tile_width = max(1, round(tile_height * width / height))
    widest = room // _MIN_COLUMNS - _GAP
    if tile_width > widest:
        tile_width, tile_height = widest, max(1, round(widest * height / width))
    # Narrow tiles still need room for the two lines above and below them.
    columns = min(room // (tile_width + _GAP), room // 90, _MAX_COLUMNS, num_frames)
    return tile_height, tile_width, max(1, columns)


def _frames_to_show(sample: SampleRecord, record: RoundRecord, columns: int) -> list[int]:
    """The annotated frame, the worst one, the first two proposals, then frames spread over the video."""
    quality = record.frame_means("J")
    priority: list[int] = [record.annotated_frame]
    if np.isfinite(quality).any():
        priority.append(int(np.nanargmin(quality)))
    priority += list(record.candidates or ())[:2]
    return drawing.spread(columns, priority, sample.num_frames)


def _label_column(
    draw: ImageDraw.ImageDraw,
    sample: SampleRecord,
    record: RoundRecord,
    frame: int,
    left: int,
    width: int,
    height: int,
) -> None:
    colour, role = INK, ""
    if frame == record.annotated_frame:
        colour, role = ACCENT, "annotated"
    elif frame in (record.candidates or ()):
        colour, role = PROPOSED, "proposed"
    draw.text((left, 6), f"frame {_frame_name(sample, frame)}", font=drawing.font(12, bold=bool(role)), fill=colour)
    if role:
        draw.text((left, 22), role, font=drawing.font(11), fill=colour)
        draw.rectangle((left - 3, _HEAD - 3, left + width + 2, height - _FOOT - _GAP + 2), outline=colour, width=2)
    quality, score = record.frame_means("J")[frame], record.scores[frame]
    parts = [] if np.isnan(quality) else [f"J {quality:.2f}"]
    parts += [] if np.isnan(score) else [f"R {score:.2f}"]
    draw.text((left, height - _FOOT - 2), "  ".join(parts), font=drawing.font(11), fill=MUTED)


def _frame_name(sample: SampleRecord, frame: int) -> str:
    """The number of a frame; its file's name where that says more (YouTube-VOS names every fifth frame)."""
    name = sample.frame_names[frame] if sample.frame_names else ""
    plain = not name or (name.isdigit() and int(name) == frame)
    return str(frame) if plain else f"{frame} ({name.lstrip('0') or '0'})"


def sample_plot(sample: SampleRecord) -> Figure:
    """J of every frame, one line per round, and which frames were annotated when."""
    figure = Figure(figsize=(SHEET_WIDTH / 100, 2.5), dpi=100, facecolor="white")
    axes = figure.add_axes((0.045, 0.17, 0.86, 0.72))
    rounds: Sequence[RoundRecord] = sample.rounds
    for record in rounds:
        shade = 0.85 - 0.85 * (record.round - 1) / max(1, len(rounds) - 1) if len(rounds) > 1 else 0.0
        colour = (0.09 + 0.6 * shade, 0.30 + 0.45 * shade, 0.50 + 0.35 * shade)
        quality = record.frame_means("J")
        label = f"round {record.round}: {np.nanmean(quality):.3f}" + (" (empty)" if record.empty else "")
        axes.plot(quality, color=colour, lw=1 + 0.8 * (record.round == len(rounds)), label=label)
        if not record.empty:
            frame = record.annotated_frame
            axes.plot(
                [frame], [quality[frame]], "o", ms=11, mfc="white", mec=as_hex(ACCENT), mew=1.3, zorder=5, clip_on=False
            )
            axes.annotate(
                str(record.round),
                (frame, quality[frame]),
                ha="center",
                va="center_baseline",
                fontsize=7,
                color=as_hex(ACCENT),
                zorder=6,
            )
    axes.set(xlim=(-0.5, sample.num_frames - 0.5), ylim=(0, 1.06), yticks=np.linspace(0, 1, 6))
    axes.set_ylabel("J", fontsize=9)
    axes.set_xlabel("frame number in the video (circle: annotated in that round)", fontsize=8, color=as_hex(MUTED))
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(*axes.get_legend_handles_labels(), loc="center right", fontsize=8, frameon=False, handlelength=1.4)
    return figure
