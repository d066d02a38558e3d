"""Locked objects: a run may not change their masks."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def keep_locked(old: Tensor, new: Tensor, object_ids: Sequence[int], locked_ids: Sequence[int]) -> Tensor:
    """The new probabilities with the locked objects as they were.

    `old`, `new`: (1 + O) x H x W, channel 0 the background, channel `c` the object `object_ids[c - 1]`, summing to 1
    over channels.  Locked channels keep their old values and the others share what is left as the new prediction would;
    pixels where a locked object won before, or would win now, keep the old distribution whole, so that its mask is the
    same to the pixel.
    """
    locked = torch.tensor([False, *(i in locked_ids for i in object_ids)])
    if not locked.any():
        return new
    merged = new.clone()
    merged[locked] = old[locked]
    room = (1 - old[locked].sum(dim=0)).clamp(min=0)  # H x W
    free = new[~locked]
    merged[~locked] = free * (room / free.sum(dim=0).clamp(min=1e-6))
    whole = locked[old.argmax(dim=0)] | locked[merged.argmax(dim=0)]  # H x W
    return torch.where(whole, old, merged)
