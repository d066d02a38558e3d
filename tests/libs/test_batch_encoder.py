"""Encoding in batches: their order and size, and what is never encoded twice."""

from __future__ import annotations

import pytest
import torch

from libs.batch_encoder import BatchEncoder
from tests.fakes import ColourFeatures


class Recorder:
    """Encodes frame `i` as a picture of the value `i` and keeps the batches."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []

    def __call__(self, frames):
        self.batches.append(list(frames))
        return [ColourFeatures(torch.full((1, 3, 2, 2), float(frame))) for frame in frames]


def value(features: ColourFeatures) -> int:
    return int(features.pixels[0, 0, 0, 0])


@pytest.mark.parametrize(
    ("together", "batches"),
    [(1, [[3], [2], [1], [5], [6]]), (2, [[3, 2], [1, 5], [6]]), (4, [[3, 2, 1, 5], [6]]), (9, [[3, 2, 1, 5, 6]])],
)
def test_frames_come_as_asked_and_are_encoded_with_those_that_follow(together, batches):
    encode = Recorder()
    encoder = BatchEncoder(encode, [3, 2, 1, 5, 6], together=together)
    assert [value(encoder.take(frame)) for frame in (3, 2, 1, 5, 6)] == [3, 2, 1, 5, 6]
    assert encode.batches == batches


def test_frames_that_are_visited_again_are_in_a_batch_once_and_cached_ones_never():
    encode, cached = Recorder(), {2}
    encoder = BatchEncoder(encode, [1, 2, 3, 1, 3, 4, 5], together=3, needed=lambda frame: frame not in cached)
    assert [value(encoder.take(frame)) for frame in (1, 3)] == [1, 3]
    assert encode.batches == [[1, 3, 4]]
    cached |= {1, 3}
    assert [value(encoder.take(frame)) for frame in (4, 5)] == [4, 5]
    assert encode.batches == [[1, 3, 4], [5]]


def test_a_frame_that_was_dropped_or_not_announced_is_encoded_when_it_is_asked_for():
    encode = Recorder()
    encoder = BatchEncoder(encode, [1, 2, 3], together=2)
    assert [value(encoder.take(frame)) for frame in (1, 2, 1, 7, 3)] == [1, 2, 1, 7, 3]
    assert encode.batches == [[1, 2], [1], [7], [3]]


def test_an_error_is_raised_where_the_frame_is_taken():
    def encode(frames):
        raise ValueError("frame 1 is damaged")

    with pytest.raises(ValueError, match="damaged"):
        BatchEncoder(encode, [1, 2], together=2).take(1)
