"""The transfer of the reliability attention through PyTorch's flex attention, for GPUs (see networks/attention.py).

The transfer is no plain attention: `S[i]` is normalised over the query's positions j, the sum goes over the annotated
positions i.  With `lse[i] = log sum over j of exp(s[i, j])` it is `out[j] = sum over i of v[i] exp(s[i, j] - lse[i])`,
an attention of j over i with a bias per key, without its own normalisation.  So two passes do it: one with the roles
exchanged for `lse`, one with the bias, whose normalisation is multiplied away again by its own log-sum-exp.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cache, partial

import torch
from torch import Tensor

HEAD_CHANNELS = 128  # channels of the values in one kernel; more would not fit a GPU's shared memory


def flex_transfer(source_keys: Tensor, target_keys: Tensor, values: Tensor) -> Tensor:
    """As `networks.attention.blockwise_transfer`: B x K x P, B x K x Q, B x C x P -> B x C x Q in float32.

    Never holds the affinity.  The log-sum-exp of the second pass is at most log P and the rest is a mean, so nothing
    overflows; positions that nothing goes to become exp(-large) = 0, as they should.
    """
    attention = _attention(source_keys.device.type)
    source, target = (x.transpose(1, 2).unsqueeze(1).contiguous() for x in (source_keys, target_keys))  # B x 1 x . x K
    _, normaliser = attention(source, target, target, scale=1.0)  # B x 1 x P

    def biased(score: Tensor, batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return score - normaliser[batch, 0, key]

    parts = []
    for part in values.split(HEAD_CHANNELS, dim=1):
        v = part.transpose(1, 2).unsqueeze(1).to(source.dtype).contiguous()  # B x 1 x P x C'
        mean, total = attention(target, source, v, score_mod=biased, scale=1.0)
        parts.append((mean.float() * total.float().exp().unsqueeze(-1))[:, 0].transpose(1, 2))  # B x C' x Q
    return torch.cat(parts, dim=1)


@cache
def _attention(device_type: str) -> Callable[..., tuple[Tensor, Tensor]]:
    """Flex attention that also gives its log-sum-exp; compiled on a GPU, elsewhere as it is, which holds the whole
    affinity and serves tests only."""
    from torch.nn.attention import flex_attention as module

    attention = torch.compile(module.flex_attention) if device_type == "cuda" else module.flex_attention
    if not hasattr(module, "AuxRequest"):  # PyTorch before 2.9
        return partial(attention, return_lse=True)

    def with_log_sum_exp(*arguments: Tensor, **options: object) -> tuple[Tensor, Tensor]:
        out, auxiliary = attention(*arguments, return_aux=module.AuxRequest(lse=True), **options)
        return out, auxiliary.lse

    return with_log_sum_exp


def transfer_or_fallback(
    source_keys: Tensor, target_keys: Tensor, values: Tensor, fallback: Callable[[Tensor, Tensor, Tensor], Tensor]
) -> Tensor:
    """`flex_transfer`; where it does not run (no compiler, an old GPU), a warning and `fallback`."""
    try:
        return flex_transfer(source_keys, target_keys, values)
    except (ImportError, NotImplementedError, RuntimeError, ValueError) as error:  # compilers raise any of these
        if isinstance(error, torch.OutOfMemoryError):
            raise
        warnings.warn(f"flex attention does not run here ({error}); computing in blocks instead", stacklevel=2)
        return fallback(source_keys, target_keys, values)
