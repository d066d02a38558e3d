"""COCO's run-length encoding of masks, and COCO JSON for videos."""

from __future__ import annotations

from typing import Any

import numpy as np

from dataset_torch.errors import UserError


def rle_counts(mask: np.ndarray) -> list[int]:
    """Run lengths of a bool H x W mask, column by column, beginning with the zeros (there may be 0 of them)."""
    flat = np.asarray(mask, bool).ravel(order="F")
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    edges = np.concatenate([[0], changes, [len(flat)]])
    counts = np.diff(edges).tolist()
    return [0, *counts] if len(flat) and flat[0] else counts


def rle_string(counts: list[int]) -> str:
    """COCO's text form: from the fourth number on the difference to the second-last; 5 bits a character, sign last."""
    out = []
    for i, count in enumerate(counts):
        x = count - counts[i - 2] if i > 2 else count
        while True:
            bits = x & 31
            x >>= 5
            more = x != -1 if bits & 16 else x != 0
            out.append(chr((bits | 32 if more else bits) + 48))
            if not more:
                break
    return "".join(out)


def rle_decode(segmentation: Any, height: int, width: int) -> np.ndarray:
    """Bool H x W mask of `{"size": [H, W], "counts": text or list}`.  Raises `UserError` if it does not fit."""
    fault = UserError(f"a segmentation is no run-length encoding of a {width}x{height} frame.")
    if not isinstance(segmentation, dict) or segmentation.get("size") != [height, width]:
        raise fault
    counts = segmentation.get("counts")
    if isinstance(counts, str):
        counts = _numbers(counts)
    if not isinstance(counts, list) or not all(type(c) is int and c >= 0 for c in counts):
        raise fault
    if sum(counts) != height * width:
        raise fault
    values = np.arange(len(counts)) % 2 == 1
    return np.repeat(values, counts).reshape((height, width), order="F")


def _numbers(text: str) -> list[int] | None:
    counts: list[int] = []
    x = shift = 0
    for character in text:
        code = ord(character) - 48
        if not 0 <= code < 64 or shift > 60:
            return None
        x |= (code & 31) << shift
        shift += 5
        if not code & 32:
            if code & 16:
                x -= 1 << shift
            counts.append(x + counts[-2] if len(counts) > 2 else x)
            x = shift = 0
    return counts if shift == 0 else None


def coco_annotation(mask: np.ndarray, **fields: Any) -> dict[str, Any]:
    """One annotation of a bool H x W mask that has at least one pixel; `fields` are its ids."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    top, left = int(rows[0]), int(columns[0])
    return {
        **fields,
        "segmentation": {"size": list(mask.shape), "counts": rle_string(rle_counts(mask))},
        "area": int(mask.sum()),
        "bbox": [left, top, int(columns[-1]) - left + 1, int(rows[-1]) - top + 1],
        "iscrowd": 0,
    }
