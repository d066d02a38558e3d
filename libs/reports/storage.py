"""Samples on disk: one file each, whole or not there, so that a killed run goes on and processes never share a file."""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from dataset_torch.atomic import write_atomic
from dataset_torch.errors import UserError
from libs.interactions import Click, FrameAnnotation, Scribble
from libs.reports.records import RoundRecord, SampleRecord, Variant

FORMAT_VERSION = 1
_ARRAYS = ("jaccard", "f_measure", "scores")


def sample_path(run_dir: str | Path, variant: Variant, sequence: str, scribble_set: int = 1) -> Path:
    """Where the record of this sample is kept."""
    return Path(run_dir) / variant.label / "samples" / f"{sequence}-{scribble_set:03d}.npz"


def save_sample(run_dir: str | Path, variant: Variant, sample: SampleRecord) -> Path:
    """Write the sample with all its rounds, atomically; call it after every round.  Raises `UserError` (disk full)."""
    header = {
        "version": FORMAT_VERSION,
        "sequence": sample.sequence,
        "object_ids": list(sample.object_ids),
        "num_frames": sample.num_frames,
        "height": sample.height,
        "width": sample.width,
        "scribble_set": sample.scribble_set,
        "frame_names": list(sample.frame_names),
        "finished": sample.finished,
        "note": sample.note,
        "rounds": [_round_to_json(r) for r in sample.rounds],
    }
    arrays = {f"{name}_{r.round}": getattr(r, name) for r in sample.rounds for name in _ARRAYS}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, header=np.array(json.dumps(header)), **arrays)
    return write_atomic(sample_path(run_dir, variant, sample.sequence, sample.scribble_set), buffer.getvalue())


def load_sample(path: str | Path) -> SampleRecord | None:
    """Read a sample; `None` if there is no such file.  Raises `UserError` if it is damaged or of another format."""
    path = Path(path)
    try:
        with np.load(path, allow_pickle=False) as content:
            header = json.loads(str(content["header"]))
            if header["version"] != FORMAT_VERSION:
                raise UserError(
                    f"{path} has record format {header['version']}, this program reads {FORMAT_VERSION}. "
                    "Delete the run's folder, or give the run another name."
                )
            rounds = tuple(
                _round_from_json(r, {name: content[f"{name}_{r['round']}"] for name in _ARRAYS})
                for r in header["rounds"]
            )
    except FileNotFoundError:  # or another process has just removed it, to play the sample again
        return None
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{path} is damaged ({error}). Delete it; the sample is then evaluated again.") from error
    return SampleRecord(
        sequence=header["sequence"],
        object_ids=tuple(header["object_ids"]),
        num_frames=header["num_frames"],
        height=header["height"],
        width=header["width"],
        scribble_set=header["scribble_set"],
        frame_names=tuple(header["frame_names"]),
        rounds=rounds,
        finished=header["finished"],
        note=header["note"],
    )


def load_samples(run_dir: str | Path, variant: Variant, *, finished_only: bool = False) -> tuple[SampleRecord, ...]:
    """All samples of the variant, sorted by sequence and scribble set."""
    files = sorted((Path(run_dir) / variant.label / "samples").glob("*.npz"))
    samples = [s for s in map(load_sample, files) if s is not None and s.rounds]
    samples.sort(key=lambda s: (s.sequence, s.scribble_set))
    return tuple(s for s in samples if s.finished or not finished_only)


def annotation_to_json(annotation: FrameAnnotation) -> dict[str, Any]:
    """Strokes and clicks as plain values; floats keep every bit.  A mask is not kept."""
    return {
        "frame": annotation.frame,
        "scribbles": [{"object_id": s.object_id, "points": s.points.tolist()} for s in annotation.scribbles],
        "clicks": [{"object_id": c.object_id, "x": c.x, "y": c.y} for c in annotation.clicks],
    }


def annotation_from_json(data: dict[str, Any]) -> FrameAnnotation:
    """The inverse of `annotation_to_json`."""
    scribbles = tuple(Scribble(s["object_id"], np.array(s["points"])) for s in data["scribbles"])
    return FrameAnnotation(data["frame"], scribbles, tuple(Click(**c) for c in data["clicks"]))


def _round_to_json(record: RoundRecord) -> dict[str, Any]:
    return {
        "round": record.round,
        "annotated_frame": record.annotated_frame,
        "candidates": None if record.candidates is None else [int(f) for f in record.candidates],
        "seconds": record.seconds,
        "empty": record.empty,
        "late": record.late,
        "annotation": None if record.annotation is None else annotation_to_json(record.annotation),
        "picture": record.picture,
    }


def _round_from_json(data: dict[str, Any], arrays: dict[str, np.ndarray]) -> RoundRecord:
    candidates = None if data["candidates"] is None else tuple(data["candidates"])
    annotation = None if data["annotation"] is None else annotation_from_json(data["annotation"])
    return RoundRecord(**{**data, "candidates": candidates, "annotation": annotation}, **arrays)
