"""All ways to compute the transfer give the same on a CPU."""

from __future__ import annotations

import pytest
import torch

from networks import flex_transfer as flex
from networks.attention import ReliabilityAttention, blockwise_transfer


def tensors(scale: float = 1.0, channels: int = 200):
    generator = torch.Generator().manual_seed(0)
    shapes = ((2, 16, 50), (2, 16, 40), (2, channels, 50))
    source, target, values = (torch.randn(shape, generator=generator) for shape in shapes)
    return scale * source, target, values


@pytest.mark.parametrize("scale", [1.0, 20.0])
def test_dense_blockwise_and_flex_agree(scale):
    source, target, values = tensors(scale)
    dense = values @ torch.softmax(source.transpose(1, 2) @ target, dim=2)
    blocks = blockwise_transfer(source, target, values, block_elements=123)
    torch.testing.assert_close(blocks, dense, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(flex.flex_transfer(source, target, values), dense, rtol=1e-4, atol=1e-4)


def test_the_module_takes_either_way():
    torch.manual_seed(1)
    module = ReliabilityAttention(32, 16).eval()
    query, annotated = torch.randn(2, 1, 32, 4, 6).unbind()
    with torch.inference_mode():
        keys, other = module.keys(query), module.keys(annotated)
        memory = [(other, module.values(other), torch.randn(3, 8, 4, 6))]
        results = []
        for use_flex in (False, True):
            module.use_flex = use_flex
            results.append(module(keys, module.self_transfer(keys), memory, (4, 6)))
    for name in ("feature", "attention", "reliability"):
        torch.testing.assert_close(*(getattr(r, name) for r in results), rtol=1e-4, atol=1e-5)


def test_where_flex_attention_does_not_run_the_blocks_do(monkeypatch):
    def broken(*arguments, **options):
        raise RuntimeError("no compiler")

    monkeypatch.setattr(flex, "_attention", lambda device_type: broken)
    source, target, values = tensors()
    with pytest.warns(UserWarning, match="no compiler"):
        result = flex.transfer_or_fallback(source, target, values, blockwise_transfer)
    torch.testing.assert_close(result, blockwise_transfer(source, target, values))
