"""Reliability attention: object features of all annotated frames brought to the query frame (spec section 3).

`P = h * w` positions.  The affinity `S[i, j] = softmax over j of key_annotated[i] . key_query[j]` is normalised over
the *query's* positions, so a block of rows `i` is complete in itself: it is computed, used for everything that it is
needed for (all objects, and the values of the reliability), and dropped.  Memory is O(P * block) instead of O(P * P).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from networks.flex_transfer import transfer_or_fallback

DISTANCE_FLOOR = 0.1  # added to every distance, so a reliability logit is at most 10
BLOCK_ELEMENTS = 1 << 21  # elements of one block of the affinity: 8 MB in float32 stay in a CPU's cache
BLOCK_ELEMENTS_CUDA = 1 << 26  # a GPU wants large products; 256 MB


@dataclass(frozen=True)
class Reading:
    """What one annotated frame has to say of one query frame; no other frame has a part in it."""

    feature: Tensor  # O x C x P, the object features at the query's positions
    logit: Tensor  # B x P, how far they are to be trusted, in (0, 10]


@dataclass(frozen=True)
class Transfer:
    """What the attention brings to the query frame, and how far that is to be trusted."""

    feature: Tensor  # O x C x h x w
    attention: Tensor  # B x N x h x w, R-attention: weights of the annotated frames, sum 1 over N
    reliability: Tensor  # B x 1 x h x w, reliability map in (0, 1]


class ReliabilityAttention(nn.Module):
    """Keys and values of frames, and the transfer from annotated frames to the query."""

    def __init__(self, channels_in: int = 1024, channels: int = 128) -> None:
        super().__init__()
        self.key = nn.Conv2d(channels_in, channels, 1)
        self.value = nn.Conv1d(channels, channels, 1)
        self.block_elements: int | None = None  # None: chosen by the kind of device
        self.use_flex = False  # through PyTorch's flex attention, where it runs (networks/flex_transfer.py)

    def keys(self, r4: Tensor) -> Tensor:
        """B x 1024 x h x w -> B x 128 x P."""
        return self.key(r4).flatten(2)

    def values(self, keys: Tensor) -> Tensor:
        """B x 128 x P -> B x 128 x P."""
        return self.value(keys)

    def self_transfer(self, keys: Tensor) -> Tensor:
        """The frame's values brought from the frame to itself, B x 128 x P: depends on one frame alone."""
        return self._transfer(keys, keys, self.values(keys))

    def _transfer(self, source_keys: Tensor, target_keys: Tensor, values: Tensor) -> Tensor:
        blockwise = partial(blockwise_transfer, block_elements=self.block_elements)
        if self.use_flex and not torch.is_grad_enabled():
            return transfer_or_fallback(source_keys, target_keys, values, blockwise)
        return blockwise(source_keys, target_keys, values)

    def read(
        self, query_keys: Tensor, query_self: Tensor, keys: Tensor, values: Tensor, object_feature: Tensor
    ) -> Reading:
        """What one annotated frame brings to the query: all the matrix products there are (arguments as `forward`)."""
        carried = object_feature.reshape(query_keys.shape[0], -1, keys.shape[-1])  # B x (O/B * C) x P
        result = self._transfer(keys, query_keys, torch.cat([carried, values.to(carried.dtype)], 1))
        feature, own = result.split([carried.shape[1], values.shape[1]], dim=1)
        feature = feature.reshape(*object_feature.shape[:2], -1)
        return Reading(feature, reliability_logit(own, query_self))

    def forward(
        self,
        query_keys: Tensor,
        query_self: Tensor,
        memory: Sequence[tuple[Tensor, Tensor, Tensor] | Reading],
        size: tuple[int, int],
    ) -> Transfer:
        """Bring the object features of the annotated frames to the query.

        `query_keys`, `query_self` B x 128 x P; `memory` per annotated frame its keys and values, B x 128 x P, and the
        object feature O x C x h x w, O a multiple of B with the objects of one batch item next to each other, or what
        `read` made of these three; `size` is (h, w) of the query.
        """
        readings = [r if isinstance(r, Reading) else self.read(query_keys, query_self, *r) for r in memory]
        batch = query_keys.shape[0]
        objects, channels, positions = readings[0].feature.shape
        features = [r.feature.reshape(batch, -1, positions) for r in readings]  # B x (O/B * C) x P
        logit = torch.stack([r.logit for r in readings], dim=1)  # B x N x P
        attention = torch.softmax(logit, dim=1)
        transferred = features[0] * attention[:, :1]
        for n, feature in enumerate(features[1:], start=1):
            transferred = torch.addcmul(transferred, feature, attention[:, n : n + 1])
        return Transfer(
            feature=transferred.reshape(objects, channels, *size),
            attention=attention.reshape(batch, -1, *size),
            reliability=reliability_map(logit).reshape(batch, 1, *size),
        )


def blockwise_transfer(
    source_keys: Tensor, target_keys: Tensor, values: Tensor, *, block_elements: int | None = None
) -> Tensor:
    """`out[:, j] = sum over i of values[:, i] * S[i, j]`, `S[i] = softmax over j of source_keys[i] . target_keys[j]`.

    `source_keys` B x K x P, `target_keys` B x K x Q, `values` B x C x P -> B x C x Q in float32 (or the inputs' dtype
    if that is wider).  `block_elements` bounds the elements of S that exist at a time.  Under autocast the products are
    computed in its dtype; softmax and the sum over blocks stay in float32.  (bfloat16 rounds logits beyond 256 to even
    numbers, so masks change: `results/bench`.)
    """
    rows, columns = source_keys.shape[-1], target_keys.shape[-1]
    if block_elements is None:
        block_elements = BLOCK_ELEMENTS_CUDA if source_keys.is_cuda else BLOCK_ELEMENTS
    block = max(1, block_elements // columns)
    device_type = source_keys.device.type
    low = torch.get_autocast_dtype(device_type) if torch.is_autocast_enabled(device_type) else None
    wide = torch.promote_types(values.dtype, torch.float32)
    with torch.autocast(device_type, enabled=False):
        dtype = low or wide
        source_keys, target_keys, values = source_keys.to(dtype), target_keys.to(dtype), values.to(dtype)
        out = torch.zeros(values.shape[0], values.shape[1], columns, dtype=wide, device=values.device)
        for start in range(0, rows, block):
            stop = min(start + block, rows)
            logits = torch.bmm(source_keys[:, :, start:stop].transpose(1, 2), target_keys)  # B x block x Q
            affinity = torch.softmax(logits, dim=-1, dtype=wide).to(dtype)
            if low is None:
                out.baddbmm_(values[:, :, start:stop], affinity)
            else:
                out += torch.bmm(values[:, :, start:stop], affinity)
    return out


def reliability_logit(transferred: Tensor, query_self: Tensor) -> Tensor:
    """`1 / d`, d = max over channels of the squared difference + 0.1.  B x C x P twice -> B x P, in (0, 10]."""
    distance = (transferred - query_self).square().amax(dim=1) + DISTANCE_FLOOR
    return 1 / distance


def reliability_map(logit: Tensor) -> Tensor:
    """`exp(max over annotated frames of the logit / 2 - 5)`.  B x N x P -> B x P, in (0, 1]."""
    return torch.exp(logit.amax(dim=1) / 2 - 5)
