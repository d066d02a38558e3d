"""Annotated frames that are judged again by what other frames make of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from config import Config
from dataset_torch.frames import ArrayFrames
from libs.evaluation import run_round, segmenter_options
from libs.interactions import FrameAnnotation, Scribble
from libs.segmenter import CROSSINGS, SECOND_OPINIONS, Segmenter, SegmenterOptions
from libs.session import Session
from libs.storage import Prediction
from networks.interface import FrameFeatures, Interaction, MemoryEntry, Propagation
from tests.fakes import ColourMemory, ColourNetwork, squares_video
from tests.libs.test_segmenter import annotation


class Remembering(ColourNetwork):
    """Remembers every frame that it is asked about, and what it was given."""

    remembers_passed = True

    def __init__(self) -> None:
        super().__init__()
        self.planes: list[Tensor] = []
        self.entries: list[int] = []

    def interact(self, image: Tensor, features: FrameFeatures, planes: Tensor) -> Interaction:
        self.planes.append(planes.clone())
        return super().interact(image, features, planes)

    def remember(self, features: FrameFeatures, output: Propagation, foreground: Tensor) -> ColourMemory:
        return replace(self.last, colour=self.last.colour)

    def propagate(
        self,
        query: FrameFeatures,
        neighbour: FrameFeatures,
        neighbour_foreground: Tensor,
        memory: Sequence[MemoryEntry],
    ) -> Propagation:
        self.entries.append(len(memory))
        self.last = memory[0]
        return super().propagate(query, neighbour, neighbour_foreground, memory)


def make(**changes: object) -> Segmenter:
    options = SegmenterOptions(**{"passed_frames": 1, "second_opinions": 0, "repeat_memory": False, **changes})
    return Segmenter(Remembering(), options=options)


def visits(segmenter: Segmenter, session, **limits: object) -> list[int]:
    """Propagate; the plan must be what happens."""
    planned = segmenter.frames_to_visit(session, **limits)
    visited = [r.frame for r in segmenter.propagate(session, **limits)]
    assert visited == list(planned)
    return visited


def test_the_first_annotated_frame_is_judged_by_its_surroundings() -> None:
    segmenter = make(second_opinions=2, surroundings=2)
    frames, masks = squares_video(num_frames=9)
    session = segmenter.open(frames)
    segmenter.annotate(session, annotation(4, masks))
    first = session.state.memory[0]
    assert visits(segmenter, session) == [3, 2, 5, 6, 4, 3, 2, 5, 6, 4, 3, 2, 1, 0, 5, 6, 7, 8]
    np.testing.assert_array_equal(session.masks(), masks)
    before, *again = segmenter.network.planes
    assert (before[:, 0] == 0.5).all(), "there was no mask before the first strokes"
    for planes in again:  # the others' opinion is the mask before, and the strokes are the same
        np.testing.assert_array_equal(
            planes[:, 0, :40, :56], torch.tensor(masks[4])[None] == torch.tensor([[[1]], [[2]]])
        )
        torch.testing.assert_close(planes[:, 1:], before[:, 1:])
    assert len(session.state.memory) == 1 and session.state.memory[0] is not first
    # Asked once a round: going on, or propagating again, walks the plain way.
    assert visits(segmenter, session) == [3, 2, 1, 0, 5, 6, 7, 8]


def test_the_opinion_reads_the_frames_just_passed_and_not_the_frame_itself() -> None:
    segmenter = make(second_opinions=1, surroundings=2)
    frames, masks = squares_video(num_frames=7)
    session = segmenter.open(frames)
    segmenter.annotate(session, annotation(3, masks))
    segmenter.network.entries.clear()
    walk = segmenter.propagate(session)
    for _ in range(5):
        result = next(walk)
    assert result.direction == "annotated" and result.frame == 3
    # Two steps to each side; the annotated frame from either side, with one passed frame of each; its settling.
    assert segmenter.network.entries == [1, 1, 1, 1, 2, 2, 1]


def before_a_crossing() -> tuple[Segmenter, Session]:
    """Frame 2 of ten was annotated and propagated, now frame 7 is: the round will cross frame 2."""
    segmenter = make(crossings=1)
    frames, masks = squares_video(num_frames=10)
    session = segmenter.open(frames)
    segmenter.annotate(session, annotation(2, masks))
    visits(segmenter, session)
    segmenter.annotate(session, annotation(7, masks))
    return segmenter, session


def test_taking_just_the_frames_announced_leaves_what_taking_all_does() -> None:
    segmenter, session = before_a_crossing()
    before = list(session.state.memory)
    walk = segmenter.propagate(session)
    for _ in segmenter.frames_to_visit(session):  # as many, and no more
        next(walk)
    walk.close()
    assert session.state.memory[0] is not before[0], "the crossed frame was judged again"


def test_stopping_behind_a_crossing_leaves_the_memory_as_it_was() -> None:
    segmenter, session = before_a_crossing()
    before = list(session.state.memory)
    walk = segmenter.propagate(session)
    for result in walk:
        if result.direction == "annotated":
            break
    next(walk)  # the frame behind it
    walk.close()
    assert [a is b for a, b in zip(session.state.memory, before, strict=True)] == [True, True]


def test_so_does_a_crossing() -> None:
    segmenter, session = before_a_crossing()
    segmenter.network.entries.clear()
    visits(segmenter, session)
    # Frames 6 to 3, a passed frame joining from 4 on; frame 2 from 3's side, by frame 7 and the one passed; its
    # settling; frames 1 and 0, a new direction; frames 8 and 9.
    assert segmenter.network.entries == [2, 2, 3, 3, 2, 1, 2, 2, 2, 2]


@pytest.mark.parametrize("frames_in_video, frame, expected", [(1, 0, []), (2, 0, [1]), (3, 2, [1, 0, 2, 1, 0])])
def test_short_videos(frames_in_video: int, frame: int, expected: list[int]) -> None:
    segmenter = make(second_opinions=1)
    frames, masks = squares_video(num_frames=frames_in_video)
    session = segmenter.open(frames)
    segmenter.annotate(session, annotation(frame, masks))
    assert visits(segmenter, session) == expected
    np.testing.assert_array_equal(session.masks(), masks)


def test_only_a_first_round_over_the_whole_video_asks() -> None:
    segmenter = make(second_opinions=1, surroundings=2)
    frames, masks = squares_video(num_frames=7)
    session = segmenter.open(frames)
    segmenter.annotate(session, annotation(3, masks))
    assert visits(segmenter, session, direction="forward") == [4, 5, 6]
    assert visits(segmenter, session, first=2) == [2, 4, 5, 6]
    assert visits(segmenter, session) == [2, 1, 4, 5, 3, 2, 1, 0, 4, 5, 6]
    segmenter.annotate(session, annotation(6, masks))
    assert visits(segmenter, session) == [5, 4]


def test_a_round_judges_the_annotated_frames_that_it_reaches() -> None:
    segmenter = make(crossings=1)
    frames, masks = squares_video(num_frames=10)
    session = segmenter.open(frames)
    segmenter.annotate(session, annotation(3, masks))
    visits(segmenter, session)
    # Something spoilt the frame's mask; what frame 6 sees there agrees with the strokes.
    spoilt = torch.full_like(session.padded_probabilities(3), 0.01)
    spoilt[0] = 0.98
    session.state.predictions[3] = Prediction.pack(spoilt, session.object_ids, "float32")
    old = session.state.memory[0]
    segmenter.annotate(session, annotation(6, masks))
    segmenter.network.planes.clear()
    assert visits(segmenter, session) == [5, 4, 3, 2, 1, 0, 7, 8, 9]
    (planes,) = segmenter.network.planes
    # Frame 3 as frame 6 sees it, to be corrected by the strokes of frame 3.
    np.testing.assert_array_equal(planes[0, 0, :40, :56].numpy().astype(bool), masks[3] == 1)
    assert session.state.memory[0] is not old and [m.frame for m in session.state.memory] == [3, 6]
    np.testing.assert_array_equal(session.masks(), masks)


def test_an_opinion_that_the_strokes_contradict_is_not_adopted() -> None:
    segmenter = make(crossings=1)
    frames, masks = squares_video(num_frames=10)
    session = segmenter.open(frames)
    corner = FrameAnnotation(3, (Scribble(1, np.array([[0.99, 0.99]])), Scribble(2, np.array([[0.01, 0.99]]))))
    segmenter.annotate(session, corner)
    visits(segmenter, session)
    old, mask, score = session.state.memory[0], session.mask(3), session.scores[3]
    segmenter.annotate(session, annotation(6, masks))
    segmenter.network.planes.clear()
    assert visits(segmenter, session) == [5, 4, 3, 2, 1, 0, 7, 8, 9]
    assert len(segmenter.network.planes) == 1, "it was asked for"
    assert session.state.memory[0] is old and session.scores[3] == score
    np.testing.assert_array_equal(session.mask(3), mask)


def test_where_an_opinion_is_not_adopted_the_round_goes_on_from_what_the_earlier_round_left() -> None:
    segmenter = make(crossings=1)
    frames, masks = squares_video(num_frames=10)
    session = segmenter.open(frames)
    corner = FrameAnnotation(3, (Scribble(1, np.array([[0.99, 0.99]])), Scribble(2, np.array([[0.01, 0.99]]))))
    segmenter.annotate(session, corner)
    visits(segmenter, session)
    left = session.padded_probabilities(3)
    segmenter.annotate(session, annotation(6, masks))
    # What this round wrote there before it was stopped.
    other = left.roll(8, dims=-1)
    session.state.predictions[3] = Prediction.pack(other, session.object_ids, "float32")
    (crossed,) = [r for r in segmenter.propagate(session) if r.direction == "annotated"]
    earlier = session.state.base_predictions[3].unpack(session.object_ids)
    torch.testing.assert_close(crossed.probabilities, earlier, rtol=0, atol=0)
    assert not torch.equal(earlier, other)


class Contrary(Remembering):
    """Strokes on a mask that others suggest take everything back."""

    def interact(self, image: Tensor, features: FrameFeatures, planes: Tensor) -> Interaction:
        interaction = super().interact(image, features, planes)
        if (planes[:, 0] == 0.5).all():
            return interaction
        return replace(
            interaction, mask_logit=interaction.mask_logit * 0 - 20, object_feature=planes.new_zeros(2, 3, 1, 1) + 9
        )


def test_the_first_opinion_that_is_not_adopted_is_the_last() -> None:
    segmenter = Segmenter(
        Contrary(),
        options=SegmenterOptions(passed_frames=1, second_opinions=3, surroundings=2, repeat_memory=False),
    )
    frames, masks = squares_video(num_frames=7)
    session = segmenter.open(frames)
    segmenter.annotate(session, annotation(3, masks))
    assert len(segmenter.frames_to_visit(session)) == 3 * 5 + 6, "at most"
    assert [r.frame for r in segmenter.propagate(session)] == [2, 1, 4, 5, 3, 2, 1, 0, 4, 5, 6]
    assert len(segmenter.network.planes) == 2
    assert [r.frame for r in segmenter.propagate(session)] == [2, 1, 0, 4, 5, 6], "nor is it asked for when going on"
    np.testing.assert_array_equal(session.masks(), masks)


class Impressionable(Remembering):
    """What it remembers of a frame depends on the mask before as much as on the strokes."""

    def interact(self, image: Tensor, features: FrameFeatures, planes: Tensor) -> Interaction:
        hint = planes[:, 1:2] + (planes[:, :1] == 1)
        colour = (hint * image).sum((2, 3), keepdim=True) / hint.sum((2, 3), keepdim=True).clamp_min(1e-6)
        return Interaction(self._logit(image, colour), colour)


def test_stopping_anywhere_and_going_on_equals_not_stopping(tmp_path) -> None:
    frames, masks = squares_video(num_frames=9, objects=2)
    noise = np.random.default_rng(0).integers(-40, 40, (9, *frames.read(0).shape))
    frames = ArrayFrames(np.stack([np.clip(frames.read(i) + noise[i], 0, 255).astype(np.uint8) for i in range(9)]))
    options = SegmenterOptions(
        passed_frames=1, second_opinions=2, surroundings=2, crossings=2, repeat_memory=False, storage="float32"
    )

    def played(stop: int | None, *, saved: bool = False):
        segmenter = Segmenter(Impressionable(), options=options)
        session = segmenter.open(frames, object_ids=[1, 2])
        for frame in (4, 1, 7):
            segmenter.annotate(session, annotation(frame, masks))
            for number, _ in enumerate(segmenter.propagate(session)):
                if number == stop:
                    break
            else:
                continue
            if saved:
                session.save(tmp_path / "s.gis")
                session = segmenter.load(tmp_path / "s.gis", frames)
            for _ in segmenter.propagate(session):
                pass
        return np.stack([session.probabilities(f) for f in range(9)]), session.scores

    expected, scores = played(None)
    for stop in range(12):
        found, found_scores = played(stop, saved=stop % 3 == 0)
        np.testing.assert_array_equal(found, expected, err_msg=f"stopped after {stop}")
        np.testing.assert_array_equal(found_scores, scores)


def test_finished_masks_and_frames_that_lack_an_object_stay_as_they_are() -> None:
    segmenter = make(second_opinions=1, crossings=1)
    frames, masks = squares_video(num_frames=8)
    session = segmenter.open(frames, object_ids=[1, 2])
    segmenter.annotate(session, FrameAnnotation(2, mask=masks[2]))
    assert visits(segmenter, session) == [1, 0, 3, 4, 5, 6, 7], "a given mask is certain"
    segmenter.annotate(session, annotation(5, masks))
    assert visits(segmenter, session) == [4, 3, 6, 7]
    session = segmenter.open(frames, object_ids=[1])
    segmenter.annotate(session, annotation(2, masks, ids=[1]))
    visits(segmenter, session)
    session.add_object(2)
    segmenter.annotate(session, annotation(5, masks))
    assert visits(segmenter, session) == [4, 3, 6, 7], "frame 2 knows nothing of object 2"


def test_networks_and_settings_decide() -> None:
    published, ours = (SegmenterOptions.for_network(n) for n in (ColourNetwork(), Remembering()))
    assert (published.second_opinions, published.crossings) == (0, 0)
    assert (ours.second_opinions, ours.crossings) == (SECOND_OPINIONS, CROSSINGS)
    chosen = segmenter_options(Remembering(), Config(second_opinions=0, crossings=5), benchmark="davis")
    assert (chosen.second_opinions, chosen.crossings) == (0, 5)
    assert segmenter_options(Remembering(), Config(), benchmark="youtube").crossings == CROSSINGS


def test_progress_counts_every_visit() -> None:
    segmenter = make(second_opinions=1, surroundings=2)
    frames, masks = squares_video(num_frames=7)
    session, seen = segmenter.open(frames), []
    run_round(segmenter, session, annotation(3, masks), progress=lambda done, total: seen.append((done, total)))
    assert seen == [(n, 12) for n in range(1, 13)]
