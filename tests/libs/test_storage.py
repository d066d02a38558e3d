"""Packed predictions."""

import pytest
import torch
from torch import Tensor

from libs.storage import Prediction
from networks.interface import aggregate


def some_probabilities(objects: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return aggregate(torch.rand(objects, 1, 16, 24, generator=generator))


@pytest.mark.parametrize("storage, error", [("float32", 0), ("uint16", 1.5 / 65535), ("uint8", 1.5 / 255)])
def test_packing_keeps_probabilities(storage, error):
    given = some_probabilities()
    kept = Prediction.pack(given, (1, 2, 3), storage).unpack()
    torch.testing.assert_close(kept, given, atol=error + 1e-7, rtol=0)
    torch.testing.assert_close(kept.sum(dim=0), torch.ones(16, 24), atol=error + 1e-6, rtol=0)


def test_certain_frames_take_few_bytes():
    certain = torch.zeros(2, 480, 864)
    certain[0] = 1
    certain[:, 100:200, 100:200] = certain[:, 100:200, 100:200].flip(0)
    assert len(Prediction.pack(certain, (1,), "uint16").data) < 10_000


def test_unknown_objects_are_absent_and_dropped_ones_background():
    given = some_probabilities(2)
    kept = Prediction.pack(given, (4, 9), "float32").unpack((9, 7))
    torch.testing.assert_close(kept[0], given[0] + given[1])
    torch.testing.assert_close(kept[1], given[2])
    assert kept[2].max() == 0
