"""The cache of frame features."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from libs.feature_cache import FeatureCache
from networks.interface import FrameFeatures


@dataclass(frozen=True)
class Numbers(FrameFeatures):
    values: Tensor


def numbered(frame: int) -> Numbers:
    return Numbers(torch.full((25,), float(frame)))  # 100 bytes


class Encoder:
    """Counts what is encoded."""

    def __init__(self) -> None:
        self.frames: list[int] = []

    def __call__(self, frame: int) -> Numbers:
        self.frames.append(frame)
        return numbered(frame)


def test_the_least_recently_used_features_go_first():
    encode = Encoder()
    cache = FeatureCache(250)
    for frame in (0, 1, 0, 2, 0, 1):
        cache.get(frame, encode)
    assert encode.frames == [0, 1, 2, 1] and cache.bytes == 200 and len(cache) == 2


def test_the_newest_is_kept_whatever_the_budget():
    cache = FeatureCache(1)
    cache.get(5, numbered)
    cache.get(6, numbered)
    assert 6 in cache and 5 not in cache
    cache.clear()
    assert len(cache) == 0 and cache.bytes == 0


def test_a_video_longer_than_the_budget_is_not_encoded_anew_in_every_round():
    encode, budget = Encoder(), 4
    cache = FeatureCache(100 * budget)
    for _ in range(5):
        order = range(10)
        cache.plan(order)
        for frame in order:
            cache.get(frame, encode)
    # Three slots stay useful, the fourth passes the others through; least recently used alone would encode all 50.
    assert len(encode.frames) == 10 + 4 * 7
    assert encode.frames[:10] == list(range(10))


def test_frames_that_the_round_needs_last_go_first_when_it_needs_all():
    cache = FeatureCache(300)
    cache.plan([0, 1, 2, 7])
    for frame in (0, 1, 2):
        cache.put(frame, numbered(frame))
    cache.put(7, numbered(7))
    assert 2 not in cache and all(frame in cache for frame in (0, 1, 7))


@pytest.mark.parametrize("where", ["memory", "disk"])
def test_spilled_features_come_back_halved_and_are_not_encoded_again(where):
    values = torch.linspace(-3, 3, 25)
    encoded = []

    def encode(frame: int) -> Numbers:
        encoded.append(frame)
        return Numbers(values * (frame + 1))

    cache = FeatureCache(100, spill=where, spill_bytes=1000)
    for frame in (0, 1, 2, 0, 1, 2):
        features = cache.get(frame, encode)
        assert features.values.dtype == torch.float32
        torch.testing.assert_close(features.values, values * (frame + 1), rtol=5e-4, atol=1e-6)
    assert encoded == [0, 1, 2] and 0 in cache
    cache.clear()
    assert 0 not in cache


def test_the_spill_is_bounded_too():
    encode = Encoder()
    cache = FeatureCache(100, spill="memory", spill_bytes=100)  # two frames in half precision
    for frame in range(5):
        cache.get(frame, encode)
    assert [frame for frame in range(5) if frame in cache] == [2, 3, 4]


def test_numbers_too_big_for_half_precision_stay_as_they_are():
    cache = FeatureCache(1, spill="memory", spill_bytes=1000)
    cache.get(0, lambda frame: Numbers(torch.tensor([1e6, 1.0])))
    cache.get(1, numbered)
    assert cache.get(0, numbered).values[0] == 1e6
