"""Packed predictions."""

import gc

import numpy as np
import pytest
import torch
from torch import Tensor

from libs import storage
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


@pytest.mark.parametrize("storage, levels", [("uint16", 65535), ("uint8", 255)])
def test_fixed_point_numbers_come_back_exactly(storage, levels):
    steps = torch.randint(0, levels + 1, (2, 7, 9), generator=torch.Generator().manual_seed(1)).float() / levels / 2
    given = torch.cat([1 - steps.sum(dim=0, keepdim=True), steps])
    once = Prediction.pack(given, (1, 2), storage)
    again = Prediction.pack(once.unpack(), (1, 2), storage)
    assert again.data == once.data
    torch.testing.assert_close(once.unpack()[1:], given[1:], atol=0.51 / levels, rtol=0)


def test_smooth_probabilities_take_a_third_of_their_bytes():
    ramp = torch.linspace(0.1, 0.3, 200)[:, None] * torch.linspace(0.5, 1, 300)[None]
    packed = Prediction.pack(torch.stack([1 - ramp, ramp]), (1,), "uint16")
    assert len(packed.data) < 2 * ramp.numel() / 3


@pytest.mark.parametrize("storage", ["uint16", "uint8"])
def test_deflating_late_changes_nothing(storage):
    kept = Prediction.pack(some_probabilities(), (1, 2, 3), storage)
    before, fewer = kept.unpack(), kept.without(2).unpack((1, 3))
    again = Prediction(kept.object_ids, kept.size, kept.format, kept.data)  # deflates
    assert kept.fixed.array() is None
    for late in (kept, again):
        assert torch.equal(late.unpack(), before)
        assert torch.equal(late.without(2).unpack((1, 3)), fewer)


def test_only_so_many_bytes_of_arrays_are_kept_the_newest_ones():
    recent = storage._Recent(250)
    arrays = [np.full((1, 5, 10), n, np.uint16) for n in range(4)]  # 100 bytes each
    kept = [recent.add(array) for array in arrays]
    assert [fixed.array() is not None for fixed in kept] == [False, False, True, True]
    assert [fixed.deflate() for fixed in kept] == [storage._deflate(array) for array in arrays]


def test_what_nobody_holds_is_never_deflated(monkeypatch):
    recent, deflated = storage._Recent(250), []
    monkeypatch.setattr(storage, "_deflate", deflated.append)
    for _ in range(9):
        recent.add(np.zeros((1, 5, 10), np.uint16))
    gc.collect()
    assert not deflated
