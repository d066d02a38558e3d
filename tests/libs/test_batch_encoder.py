"""Encoding in batches: their order and size, and what is never encoded twice."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from libs.batch_encoder import BatchEncoder
from tests.fakes import ColourFeatures


class Recorder:
    """Frame `i` is a picture of the value `i`; keeps the batches."""

    def __init__(self, damaged: int | None = None) -> None:
        self.damaged = damaged
        self.batches: list[list[int]] = []

    def read(self, frame: int) -> Tensor:
        if frame == self.damaged:
            raise ValueError(f"frame {frame} is damaged")
        return torch.full((1, 3, 2, 2), float(frame))

    def encode(self, inputs: Sequence[Tensor]) -> list[ColourFeatures]:
        self.batches.append([value(ColourFeatures(pixels)) for pixels in inputs])
        return [ColourFeatures(pixels) for pixels in inputs]


def value(features: ColourFeatures) -> int:
    return int(features.pixels[0, 0, 0, 0])


@pytest.mark.parametrize(
    ("together", "batches"),
    [(1, [[3], [2], [1], [5], [6]]), (2, [[3, 2], [1, 5], [6]]), (4, [[3, 2, 1, 5], [6]]), (9, [[3, 2, 1, 5, 6]])],
)
def test_frames_come_as_asked_and_are_encoded_with_those_that_follow(together, batches):
    frames = Recorder()
    encoder = BatchEncoder(frames.read, frames.encode, [3, 2, 1, 5, 6], together=together)
    assert [value(encoder.take(frame)) for frame in (3, 2, 1, 5, 6)] == [3, 2, 1, 5, 6]
    assert frames.batches == batches


def test_frames_that_are_visited_again_are_in_a_batch_once_and_cached_ones_never():
    frames, cached = Recorder(), {2}
    encoder = BatchEncoder(
        frames.read, frames.encode, [1, 2, 3, 1, 3, 4, 5], together=3, needed=lambda frame: frame not in cached
    )
    assert [value(encoder.take(frame)) for frame in (1, 3)] == [1, 3]
    assert frames.batches == [[1, 3, 4]]
    cached |= {1, 3}
    assert [value(encoder.take(frame)) for frame in (4, 5)] == [4, 5]
    assert frames.batches == [[1, 3, 4], [5]]


def test_a_frame_that_was_dropped_or_not_announced_is_encoded_when_it_is_asked_for():
    frames = Recorder()
    encoder = BatchEncoder(frames.read, frames.encode, [1, 2, 3], together=2)
    assert [value(encoder.take(frame)) for frame in (1, 2, 1, 7, 3)] == [1, 2, 1, 7, 3]
    assert frames.batches == [[1, 2], [1], [7], [3]]


def test_an_error_is_raised_where_the_frame_is_taken_after_those_before_it():
    frames = Recorder(damaged=3)
    encoder = BatchEncoder(frames.read, frames.encode, [1, 2, 3, 4], together=4)
    assert [value(encoder.take(frame)) for frame in (1, 2)] == [1, 2]
    assert frames.batches == [[1, 2]]
    with pytest.raises(ValueError, match="frame 3 is damaged"):
        encoder.take(3)
