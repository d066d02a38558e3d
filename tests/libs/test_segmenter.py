"""The interaction-propagation loop, on a network that segments by colour."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from dataset_torch.errors import UserError
from dataset_torch.frames import ArrayFrames
from libs.guidance import INTERACTIVE
from libs.interactions import Click, FrameAnnotation, Scribble
from libs.segmenter import Segmenter, SegmenterOptions, _merge
from networks.interface import FrameFeatures, Propagation
from tests.fakes import COLOURS, ColourNetwork, squares_video


def stroke(object_id: int, mask: np.ndarray) -> Scribble:
    """A short stroke in the middle of the object."""
    rows, columns = np.nonzero(mask == object_id)
    height, width = mask.shape
    y, x = (rows.mean() + 1) / height, (columns.mean() + 1) / width
    return Scribble(object_id, np.array([[x, y], [x + 1 / width, y]]))


def annotation(frame: int, masks: np.ndarray, ids=None) -> FrameAnnotation:
    ids = [i for i in np.unique(masks[frame]) if i] if ids is None else ids
    return FrameAnnotation(frame, tuple(stroke(int(i), masks[frame]) for i in ids))


@pytest.fixture
def segmenter():
    return Segmenter(ColourNetwork())


def play(segmenter, session, given):
    segmenter.annotate(session, given)
    return [r.frame for r in segmenter.propagate(session)]


def test_one_round_segments_every_frame(segmenter):
    frames, masks = squares_video()
    session = segmenter.open(frames, object_ids=[1, 2])
    assert play(segmenter, session, annotation(2, masks)) == [1, 0, 3, 4, 5]
    np.testing.assert_array_equal(session.masks(), masks)
    assert session.annotated_frames == [2]
    np.testing.assert_allclose(session.probabilities(4).sum(axis=0), 1, atol=1e-5)


def test_the_annotated_frame_shows_at_once(segmenter):
    frames, masks = squares_video()
    session = segmenter.open(frames)
    result = segmenter.annotate(session, annotation(3, masks))
    assert result.direction == "annotated" and session.object_ids == (1, 2)
    np.testing.assert_array_equal(session.mask(3), masks[3])
    assert not session.mask(0).any() and np.isnan(session.scores[0])
    # To the bit, for every direction starts from it.
    torch.testing.assert_close(session.padded_probabilities(3), result.probabilities, rtol=0, atol=0)


def test_frames_are_encoded_once(segmenter):
    frames, masks = squares_video()
    session = segmenter.open(frames)
    for frame in (2, 5, 0):
        play(segmenter, session, annotation(frame, masks))
    assert segmenter.network.encoded == len(frames)


def test_a_small_feature_budget_changes_nothing_but_time():
    frames, masks = squares_video()
    results = []
    for budget in (1, 1 << 30):
        segmenter = Segmenter(ColourNetwork(), options=SegmenterOptions(feature_budget_bytes=budget))
        session = segmenter.open(frames)
        for frame in (2, 4):
            play(segmenter, session, annotation(frame, masks))
        results.append([session.probabilities(f) for f in range(len(frames))])
    np.testing.assert_array_equal(results[0], results[1])


class BatchedNetwork(ColourNetwork):
    """Encodes two frames of 40x56 together."""

    batch_pixels = 2 * 40 * 56

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[int] = []

    def encode_frames(self, images: torch.Tensor) -> list[FrameFeatures]:
        self.batches.append(len(images))
        return super().encode_frames(images)


# The annotated frame, two before it and five behind it, for which a budget of one frame has to encode it again.
@pytest.mark.parametrize(("budget", "batches"), [(1, [1, 2, 1, 2, 2, 1]), (1 << 30, [1, 2, 2, 2, 1])])
def test_frames_encoded_in_batches_give_the_same_and_are_encoded_no_more_often(budget, batches):
    frames, masks = squares_video(num_frames=8)
    results, encoded = [], []
    for network in (ColourNetwork(), BatchedNetwork()):
        segmenter = Segmenter(network, options=SegmenterOptions(feature_budget_bytes=budget))
        session = segmenter.open(frames)
        for frame in (2, 6):
            play(segmenter, session, annotation(frame, masks))
        results.append([session.probabilities(f) for f in range(len(frames))])
        encoded.append(network.encoded)
    np.testing.assert_array_equal(results[0], results[1])
    assert encoded[0] == encoded[1]
    assert network.batches[: len(batches)] == batches


def test_frames_beyond_the_batch_s_pixels_are_encoded_one_by_one():
    frames, masks = squares_video(num_frames=4, width=128)
    segmenter = Segmenter(BatchedNetwork())
    play(segmenter, segmenter.open(frames), annotation(0, masks))
    assert segmenter.network.batches == [1, 1, 1, 1]


def test_frames_before_a_damaged_one_are_segmented_though_they_are_encoded_with_it():
    class Damaged(ArrayFrames):
        def read(self, index: int) -> np.ndarray:
            if index == 4:
                raise UserError("frame 4 cannot be read")
            return super().read(index)

    video, masks = squares_video(num_frames=7)
    frames = Damaged(np.stack([video.read(i) for i in range(7)]), name="damaged")
    segmenter, seen = Segmenter(BatchedNetwork()), []
    session = segmenter.open(frames)
    segmenter.annotate(session, annotation(0, masks))
    with pytest.raises(UserError, match="frame 4 cannot be read"):
        for result in segmenter.propagate(session):
            seen.append(result.frame)
    assert seen == [1, 2, 3]
    np.testing.assert_array_equal(session.mask(3), masks[3])


def test_blending_weights_the_new_round_by_distance():
    """Object 1 is marked on frame 0; on frame 4 its strokes are on grey, so it becomes the background's colour."""
    frames, masks = squares_video(num_frames=5, objects=1)
    segmenter = Segmenter(ColourNetwork(), options=SegmenterOptions(range_proportion=1.0, memory_limit=0))
    session = segmenter.open(frames)
    play(segmenter, session, annotation(0, masks))
    before = [session.padded_probabilities(f) for f in range(5)]
    play(segmenter, session, FrameAnnotation(4, (Scribble(1, np.array([[0.9, 0.9]])),)))
    for frame, weight in ((3, 0.5 + 0.5 * 3 / 4), (1, 0.5 + 0.5 * 1 / 4)):
        after = session.padded_probabilities(frame)
        alone = Segmenter(ColourNetwork(), options=SegmenterOptions(range_proportion=1.0, blend=False))
        other = alone.open(frames)
        play(alone, other, annotation(0, masks))
        play(alone, other, FrameAnnotation(4, (Scribble(1, np.array([[0.9, 0.9]])),)))
        expected = weight * other.padded_probabilities(frame) + (1 - weight) * before[frame]
        torch.testing.assert_close(after, expected, atol=3e-5, rtol=0)


def test_stopping_half_way_and_going_on_equals_not_stopping(segmenter):
    frames, masks = squares_video(num_frames=8)
    sessions = [segmenter.open(frames) for _ in range(2)]
    for session in sessions:
        play(segmenter, session, annotation(1, masks))
        segmenter.annotate(session, annotation(6, masks))
    for result in segmenter.propagate(sessions[0]):
        if result.frame == 4:
            break
    assert sessions[0].is_predicted(3) and not np.isnan(sessions[0].scores).any()
    for session in sessions:
        list(segmenter.propagate(session))
    for frame in range(8):
        np.testing.assert_array_equal(sessions[0].probabilities(frame), sessions[1].probabilities(frame))


def test_directions_and_ranges(segmenter):
    frames, masks = squares_video(num_frames=9)
    session = segmenter.open(frames)
    segmenter.annotate(session, annotation(4, masks))
    assert [r.frame for r in segmenter.propagate(session, direction="forward")] == [5, 6, 7, 8]
    assert [r.frame for r in segmenter.propagate(session, first=2, last=5)] == [3, 2, 5]
    assert [r.frame for r in segmenter.propagate(session, direction="backward", first=3)] == [3]


def test_saved_session_continues_exactly(segmenter, tmp_path):
    frames, masks = squares_video(num_frames=7)
    session = segmenter.open(frames)
    play(segmenter, session, annotation(1, masks))
    segmenter.annotate(session, annotation(5, masks, ids=[2]))
    session.save(tmp_path / "s.gis")
    other = Segmenter(ColourNetwork()).load(tmp_path / "s.gis", frames)
    for s in (session, other):
        list(segmenter.propagate(s))
        play(segmenter, s, annotation(3, masks))
    assert other.annotated_frames == session.annotated_frames == [1, 5, 3]
    np.testing.assert_array_equal(session.scores, other.scores)
    for frame in range(7):
        np.testing.assert_array_equal(session.probabilities(frame), other.probabilities(frame))


def test_a_session_of_another_video_or_network_is_refused(segmenter, tmp_path):
    frames, masks = squares_video()
    session = segmenter.open(frames)
    play(segmenter, session, annotation(0, masks))
    session.save(tmp_path / "s.gis")
    with pytest.raises(UserError, match="belongs to the video squares"):
        segmenter.load(tmp_path / "s.gis", squares_video(num_frames=5)[0])
    with pytest.raises(UserError, match="network"):
        Segmenter(ColourNetwork(), network_id="other").load(tmp_path / "s.gis", frames)
    with pytest.raises(UserError, match="another working size"):
        Segmenter(ColourNetwork(), options=SegmenterOptions(short_side=24)).load(tmp_path / "s.gis", frames)
    (tmp_path / "bad.gis").write_bytes((tmp_path / "s.gis").read_bytes()[:300])
    with pytest.raises(UserError, match="not a session file"):
        segmenter.load(tmp_path / "bad.gis", frames)
    with pytest.raises(UserError, match="does not exist"):
        segmenter.load(tmp_path / "none.gis", frames)


def test_undo_and_redo_are_exact(segmenter):
    frames, masks = squares_video()
    session = segmenter.open(frames)
    play(segmenter, session, annotation(0, masks, ids=[1]))
    before = session.snapshot()
    first = session.masks()
    session.add_object(2)
    play(segmenter, session, annotation(3, masks))
    after, second = session.snapshot(), session.masks()
    session.restore(before)
    np.testing.assert_array_equal(session.masks(), first)
    assert session.object_ids == (1,) and session.annotated_frames == [0]
    session.restore(after)
    np.testing.assert_array_equal(session.masks(), second)
    assert session.state == after


def test_an_object_added_later_reads_only_frames_annotated_since(segmenter):
    frames, masks = squares_video(objects=3)
    session = segmenter.open(frames, object_ids=[1])
    play(segmenter, session, annotation(0, masks, ids=[1]))
    np.testing.assert_array_equal(session.masks(), np.where(masks == 1, 1, 0))
    session.add_object(3)
    play(segmenter, session, annotation(2, masks, ids=[3]))
    visited = session.masks()[[1, 2, 3, 4, 5]]
    expected = np.where((masks == 1) | (masks == 3), masks, 0)[[1, 2, 3, 4, 5]]
    np.testing.assert_array_equal(visited, expected)
    assert [record.object_ids for record in session.state.memory] == [(1,), (1, 3)]


def test_a_removed_object_becomes_background_and_its_id_can_come_again(segmenter):
    frames, masks = squares_video()
    session = segmenter.open(frames)
    play(segmenter, session, annotation(0, masks))
    session.remove_object(1)
    np.testing.assert_array_equal(session.masks(), np.where(masks == 2, 2, 0))
    np.testing.assert_allclose(session.probabilities(2).sum(axis=0), 1, atol=1e-5)
    session.add_object(1)
    assert session.probabilities(2)[session.object_ids.index(1) + 1].max() == 0
    with pytest.raises(UserError, match="no object 9"):
        session.remove_object(9)


def test_strokes_of_a_removed_object_are_not_those_of_another_of_its_id(segmenter, tmp_path):
    frames, masks = squares_video()
    session = segmenter.open(frames)
    play(segmenter, session, annotation(0, masks))
    session.remove_object(2)
    assert {s.object_id for a in session.given(0) for s in a.scribbles} == {1, 2}  # says where the other is not
    session.add_object(2)
    assert {s.object_id for a in session.given(0) for s in a.scribbles} == {1}
    session.save(tmp_path / "s.gis")
    play(segmenter, session, annotation(0, masks, ids=[2]))
    assert [{s.object_id for s in a.scribbles} for a in session.given(0)] == [{1}, {2}]
    loaded = segmenter.load(tmp_path / "s.gis", frames)
    assert {s.object_id for a in loaded.given(0) for s in a.scribbles} == {1}


def test_an_id_removed_and_added_again_before_propagating_has_nothing_of_the_old_masks(segmenter):
    frames, masks = squares_video()
    session = segmenter.open(frames)
    play(segmenter, session, annotation(0, masks))
    segmenter.annotate(session, annotation(5, masks))
    session.remove_object(2)
    session.add_object(2)
    list(segmenter.propagate(session))  # mixes with what the first round left
    channel = 1 + session.object_ids.index(2)
    assert all(session.padded_probabilities(f)[channel].max() == 0 for f in range(len(frames)))


def test_a_snapshot_knows_nothing_of_what_is_removed_later(segmenter):
    frames, masks = squares_video()
    session = segmenter.open(frames)
    play(segmenter, session, annotation(0, masks))
    before = session.snapshot()
    session.remove_object(2)
    assert before.removed == {}
    session.restore(before)
    assert {s.object_id for a in session.given(0) for s in a.scribbles} == {1, 2}


def _annotated_elsewhere(segmenter, session, masks):
    segmenter.annotate(session, annotation(5, masks))


@pytest.mark.parametrize(
    "change",
    [
        _annotated_elsewhere,
        lambda segmenter, session, masks: session.add_object(9),
        lambda segmenter, session, masks: session.remove_object(1),
        lambda segmenter, session, masks: session.restore(session.snapshot()),
    ],
)
def test_a_propagation_does_not_go_on_in_a_session_that_changed(segmenter, tmp_path, change):
    frames, masks = squares_video()
    session = segmenter.open(frames)
    segmenter.annotate(session, annotation(2, masks))
    results = segmenter.propagate(session)
    next(results)
    change(segmenter, session, masks)
    memory = list(session.state.memory)
    with pytest.raises(UserError, match="Propagate again"):
        next(results)
    assert session.state.memory == memory
    session.save(tmp_path / "s.gis")
    np.testing.assert_array_equal(segmenter.load(tmp_path / "s.gis", frames).masks(), session.masks())


def test_a_failed_first_annotation_leaves_no_objects(segmenter):
    frames, masks = squares_video()
    session = segmenter.open(frames)
    with pytest.raises(UserError, match="255"):
        segmenter.annotate(session, FrameAnnotation(0, mask=np.where(masks[0] == 0, 255, masks[0]).astype(np.uint8)))
    assert session.object_ids == ()
    play(segmenter, session, annotation(0, masks, ids=[2]))
    assert session.object_ids == (2,)


@pytest.mark.parametrize("where", [{"direction": "forwards"}, {"first": 4, "last": 3}, {"first": 100}, {"last": -1}])
def test_a_way_that_leads_nowhere_is_refused(segmenter, where):
    frames, masks = squares_video()
    session = segmenter.open(frames)
    segmenter.annotate(session, annotation(2, masks))
    with pytest.raises(UserError, match="there is no"):
        segmenter.frames_to_visit(session, **where)
    with pytest.raises(UserError, match="there is no"):
        next(segmenter.propagate(session, **where))


def test_numbers_of_numpy_are_saved(segmenter, tmp_path):
    frames, masks = squares_video()
    session = segmenter.open(frames)
    ids = np.unique(masks[0])[1:]
    scribbles = tuple(Scribble(i, stroke(int(i), masks[2]).points) for i in ids)
    click = Click(ids[0], np.float32(0.5), np.float32(0.5))
    segmenter.annotate(session, FrameAnnotation(np.int64(2), scribbles, (click,)))
    session.save(tmp_path / "s.gis")
    loaded = segmenter.load(tmp_path / "s.gis", frames)
    assert loaded.rounds == session.rounds and hash(loaded.rounds[0]) == hash(session.rounds[0])
    with pytest.raises(UserError, match="whole number"):
        Scribble(1.5, [[0, 0]])


def test_a_saved_memory_has_no_more_than_its_own_bytes(segmenter, tmp_path):
    frames, masks = squares_video()
    session = segmenter.open(frames)
    segmenter.annotate(session, annotation(2, masks))
    size = session.save(tmp_path / "s.gis").stat().st_size
    record = session.state.memory[0]
    batch = torch.cat([record.entry.colour, torch.zeros(100_000, 3, 1, 1)])
    view = replace(record, entry=replace(record.entry, colour=batch[: len(record.object_ids)]))
    session.state.memory = [view]
    assert session.save(tmp_path / "s.gis").stat().st_size < size + 1000


def test_a_session_opens_with_the_weights_it_was_made_with(segmenter, tmp_path):
    frames, masks = squares_video()
    networks = [ColourNetwork(), ColourNetwork()]
    networks[0].weights_id, networks[1].weights_id = "a", "b"
    session = Segmenter(networks[0]).open(frames)
    Segmenter(networks[0]).annotate(session, annotation(2, masks))
    session.save(tmp_path / "s.gis")
    assert Segmenter(networks[0]).load(tmp_path / "s.gis", frames).annotated_frames == [2]
    with pytest.raises(UserError, match="Load the same checkpoint"):
        Segmenter(networks[1]).load(tmp_path / "s.gis", frames)


def test_annotations_are_not_those_of_the_caller_to_change(segmenter):
    frames, masks = squares_video()
    points, mask = np.full((2, 2), 0.5), masks[2].copy()
    given, marked = Scribble(1, points), FrameAnnotation(2, mask=mask)
    points[:], mask[:] = 0.9, 0
    assert given == Scribble(1, [[0.5, 0.5], [0.5, 0.5]]) and given != Scribble(2, given.points)
    assert marked == FrameAnnotation(2, mask=masks[2]) and marked != FrameAnnotation(2)
    with pytest.raises(ValueError, match="read-only"):
        given.points[:] = 0


def test_a_frame_with_nothing_to_correct_is_not_proposed_again():
    segmenter = Segmenter(ColourNetwork(), options=SegmenterOptions(guidance=INTERACTIVE))
    frames, masks = squares_video()
    session = segmenter.open(frames)
    play(segmenter, session, annotation(0, masks))
    seen = [0]
    for _ in range(len(frames) - 1):
        (frame,) = session.recommend("RS1")
        assert frame not in seen
        segmenter.annotate(session, FrameAnnotation(frame))  # nothing was to be corrected
        seen.append(frame)


def test_an_empty_round_is_recorded_and_changes_nothing(segmenter):
    frames, masks = squares_video()
    session = segmenter.open(frames)
    play(segmenter, session, annotation(0, masks))
    before, scores = session.masks(), session.scores
    assert segmenter.annotate(session, FrameAnnotation(3)) is None
    np.testing.assert_array_equal(session.masks(), before)
    np.testing.assert_array_equal(session.scores, scores)
    assert [r.empty for r in session.rounds] == [False, True] and session.annotated_frames == [0]
    assert len(session.state.memory) == 1


def test_a_frame_annotated_twice(segmenter):
    frames, masks = squares_video()
    session = segmenter.open(frames)
    play(segmenter, session, annotation(2, masks))
    assert play(segmenter, session, annotation(2, masks, ids=[1])) == [1, 0, 3, 4, 5]
    assert [m.frame for m in session.state.memory] == [2, 2]
    once = Segmenter(ColourNetwork(), options=SegmenterOptions(repeat_memory=False))
    session = once.open(frames)
    play(once, session, annotation(2, masks))
    play(once, session, annotation(2, masks))
    assert [m.frame for m in session.state.memory] == [2] and session.annotated_frames == [2, 2]


def test_an_imported_mask_is_the_result(segmenter):
    frames, masks = squares_video()
    session = segmenter.open(frames, object_ids=[1, 2])
    drawn = masks[2].copy()
    drawn[30:35, 30:35] = 2  # not what the network would say
    assert play(segmenter, session, FrameAnnotation(2, mask=drawn)) == [1, 0, 3, 4, 5]
    np.testing.assert_array_equal(session.mask(2), drawn)
    np.testing.assert_array_equal(session.mask(5), masks[5])


def test_clicks_work_like_strokes(segmenter):
    frames, masks = squares_video(objects=1)
    session = segmenter.open(frames)
    rows, columns = np.nonzero(masks[0])
    click = Click(1, (columns.mean() + 0.5) / 56, (rows.mean() + 0.5) / 40)
    play(segmenter, session, FrameAnnotation(0, clicks=(click,)))
    np.testing.assert_array_equal(session.masks(), masks)


@pytest.mark.parametrize("size", [(1, 1), (7, 3), (33, 65), (40, 57)])
def test_odd_sizes_and_one_frame(segmenter, size):
    height, width = size
    frames = ArrayFrames(np.full((1, height, width, 3), COLOURS[0], np.uint8))
    session = segmenter.open(frames)
    assert play(segmenter, session, FrameAnnotation(0, (Scribble(1, np.array([[0.5, 0.5]])),))) == []
    assert session.mask(0).shape == size and (session.mask(0) == 1).all()
    assert session.recommend("RS4") == [0]


def test_an_object_without_strokes_in_the_first_round_is_absent(segmenter):
    frames, masks = squares_video()
    session = segmenter.open(frames, object_ids=[1, 2])
    play(segmenter, session, annotation(0, masks, ids=[1]))
    np.testing.assert_array_equal(session.masks(), np.where(masks == 1, 1, 0))


def test_an_object_added_and_never_marked_is_absent(segmenter):
    frames, masks = squares_video()
    session = segmenter.open(frames, object_ids=[1])
    segmenter.annotate(session, annotation(0, masks, ids=[1]))
    session.add_object(2)
    list(segmenter.propagate(session))
    np.testing.assert_array_equal(session.masks(), np.where(masks == 1, 1, 0))
    assert all(session.probabilities(f)[2].max() == 0 for f in range(len(frames)))


def test_every_object_counts_the_same_in_the_score_however_they_are_grouped():
    def output(objects: int, score: float) -> Propagation:
        score = torch.tensor(score)
        return Propagation(torch.full((objects, 1, 2, 2), 0.8), score, score.reshape(1, 1, 1, 1), torch.zeros(1))

    merged = _merge([([0, 2], output(2, 0.9)), ([1], output(1, 0.3))], torch.zeros(4, 1, 2, 2))
    assert float(merged.score) == float(merged.reliability) == pytest.approx(0.7)
    assert merged.foreground[:, 0, 0, 0].tolist() == pytest.approx([0.8, 0.8, 0.8, 0])


def test_working_at_another_size():
    frames, masks = squares_video(height=80, width=120, side=24)
    segmenter = Segmenter(ColourNetwork(), options=SegmenterOptions(short_side=40))
    session = segmenter.open(frames)
    play(segmenter, session, annotation(0, masks))
    assert session.geometry.padded_size == (40, 64) and session.masks().shape == masks.shape
    assert (session.masks() != masks).mean() < 0.02


def test_bad_annotations_leave_the_session_untouched(segmenter):
    frames, masks = squares_video()
    session = segmenter.open(frames, object_ids=[1, 2])
    with pytest.raises(UserError, match="frame 9 does not exist"):
        segmenter.annotate(session, FrameAnnotation(9, annotation(0, masks).scribbles))
    with pytest.raises(UserError, match="object 5"):
        segmenter.annotate(session, FrameAnnotation(0, (Scribble(5, np.array([[0.5, 0.5]])),)))
    with pytest.raises(UserError, match="must be"):
        segmenter.annotate(session, FrameAnnotation(0, mask=np.zeros((3, 3), np.uint8)))
    with pytest.raises(UserError, match="first round is empty"):
        segmenter.annotate(session, FrameAnnotation(0))
    with pytest.raises(UserError, match="nothing is annotated"):
        next(segmenter.propagate(session))
    with pytest.raises(UserError, match="at least one"):
        segmenter.annotate(segmenter.open(frames), FrameAnnotation(0, (Scribble(0, np.array([[0.5, 0.5]])),)))
    assert session.rounds == [] and not session.state.predictions


def test_ids_are_mapped_to_channels_in_one_place(segmenter):
    frames, masks = squares_video()
    ids = np.array([0, 200, 7], np.uint8)
    session = segmenter.open(frames, object_ids=[200, 7])
    play(segmenter, session, annotation(1, ids[masks]))
    np.testing.assert_array_equal(session.masks(), ids[masks])


def test_training_keeps_gradients_through_the_chain():
    frames, masks = squares_video(num_frames=3)
    segmenter = Segmenter(ColourNetwork(), options=SegmenterOptions(training=True, storage="float32"))
    session = segmenter.open(frames)
    start = segmenter.annotate(session, annotation(0, masks))
    results = list(segmenter.propagate(session, start=start))
    assert start.interaction_logit is not None and all(r.propagation is not None for r in results)
    results[-1].probabilities[1].mean().backward()
    assert segmenter.network.scale.grad is not None and torch.isfinite(segmenter.network.scale.grad)


def test_the_published_network_keeps_the_published_faults_and_others_do_not():
    class Sized(ColourNetwork):
        preferred_short_side = 40

    published, own = SegmenterOptions.for_network(ColourNetwork()), SegmenterOptions.for_network(Sized())
    assert published.repeat_memory and not published.guidance.exclude_annotated and published.short_side is None
    assert not own.repeat_memory and own.guidance.exclude_annotated and own.short_side == 40
    frames, masks = squares_video()
    segmenter = Segmenter(Sized())
    session = segmenter.open(frames)
    play(segmenter, session, annotation(2, masks))
    assert 2 not in session.recommend("RS4") and session.recommend("wo_RS") is None


def test_annotated_frames_are_no_less_sure_than_those_beside_them():
    frames, masks = squares_video(num_frames=6)
    segmenter = Segmenter(ColourNetwork(), options=SegmenterOptions(lift_annotated=True))
    session = segmenter.open(frames)
    segmenter.annotate(session, annotation(0, masks))
    segmenter.annotate(session, annotation(3, masks))
    session.state.scores = {0: 0.2, 1: 0.3, 2: 0.6, 3: 0.4, 4: 0.5}
    np.testing.assert_array_equal(session.scores, [0.3, 0.3, 0.6, 0.6, 0.5, np.nan])
    session.state.scores = {0: 0.2, 3: 0.4}
    np.testing.assert_array_equal(session.scores, [0.2, np.nan, np.nan, 0.4, np.nan, np.nan])
    session.lift_annotated = False  # as published
    session.state.scores = {0: 0.2, 1: 0.3}
    np.testing.assert_array_equal(session.scores[:2], [0.2, 0.3])


class Forgetful(ColourNetwork):
    """Its propagation loses everything, so what is left of a mask is the interaction's."""

    def propagate(self, query, neighbour, neighbour_foreground, memory):
        output = super().propagate(query, neighbour, neighbour_foreground, memory)
        return replace(output, foreground=torch.full_like(output.foreground, 1e-3))


@pytest.mark.parametrize("keep", [False, True])
def test_what_strokes_mended_is_kept(keep: bool):
    frames, masks = squares_video()
    segmenter = Segmenter(Forgetful(), options=SegmenterOptions(keep_corrected=keep, blend=False))
    session = segmenter.open(frames)
    play(segmenter, session, annotation(2, masks))
    assert not session.mask(2).any(), "first strokes, where no mask was before, go through the propagation"
    play(segmenter, session, annotation(3, masks))
    np.testing.assert_array_equal(session.mask(3), masks[3] if keep else 0)
    assert not session.mask(4).any()
