"""Memory of the frames that a direction has just passed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from libs.segmenter import Segmenter, SegmenterOptions
from libs.trail import Trail
from tests.fakes import ColourMemory, ColourNetwork, squares_video
from tests.libs.test_segmenter import annotation


def passed(trail: Trail, count: int) -> list[int]:
    """Pass `count` frames, remembering each one's number where the trail asks for it."""
    for number in range(1, count + 1):
        if trail.passes():
            trail.add([1], number)
    return trail.entries([1])


@pytest.mark.parametrize(
    "limit, every, count, left", [(2, 3, 2, []), (2, 3, 3, [3]), (2, 3, 10, [6, 9]), (1, 1, 4, [4]), (0, 1, 9, [])]
)
def test_the_latest_of_every_few_frames_stay(limit: int, every: int, count: int, left: list[int]) -> None:
    assert passed(Trail(limit, every), count) == left


def test_objects_have_entries_of_their_own_and_nothing_is_remembered_of_nothing() -> None:
    trail = Trail(2, 1)
    trail.add((1, 2), "both")
    trail.add((3,), None)
    assert trail.entries([1, 2]) == ["both"] and trail.entries((3,)) == [] and trail.entries([1]) == []


class Remembering(ColourNetwork):
    """Remembers every frame it is asked about, and what it was given to read."""

    remembers_passed = True

    def __init__(self) -> None:
        super().__init__()
        self.given: list[int] = []

    def remember(self, features, output, foreground):
        assert foreground.shape == output.foreground.shape
        return replace(self.last, colour=self.last.colour)

    def propagate(self, query, neighbour, neighbour_foreground, memory):
        self.given.append(len(memory))
        self.last: ColourMemory = memory[0]
        return super().propagate(query, neighbour, neighbour_foreground, memory)


def test_each_direction_begins_without_passed_frames() -> None:
    network = Remembering()
    segmenter = Segmenter(network, options=SegmenterOptions(passed_frames=2, passed_every=1))
    frames, masks = squares_video(num_frames=8)
    session = segmenter.open(frames)
    segmenter.annotate(session, annotation(4, masks))
    list(segmenter.propagate(session))
    # The annotated frame itself; backward over 3, 2, 1, 0; forward over 5, 6, 7.
    assert network.given == [1, 1, 2, 3, 3, 1, 2, 3]
    assert len(session.state.memory) == 1, "what was passed is not kept in the session"


def test_only_networks_that_can_remember_are_asked_to() -> None:
    assert SegmenterOptions.for_network(ColourNetwork()).passed_frames == 0
    assert SegmenterOptions.for_network(Remembering()).passed_frames > 0
