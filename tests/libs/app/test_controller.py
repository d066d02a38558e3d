from __future__ import annotations

import gc
import hashlib
import weakref
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dataset_torch.errors import UserError
from dataset_torch.frames import ArrayFrames
from libs.app.controller import Controller, Progress, RunOptions
from libs.interactions import Click, Scribble
from libs.session import SessionState
from tests.libs.app.stand_in import make_segmenter, square_frames, squares, stroke_on


def opened(folder: Path, **options: object) -> Controller:
    return Controller(make_segmenter(), square_frames(), folder, **options)


@pytest.fixture
def controller(tmp_path: Path):
    controller = opened(tmp_path / "w")
    yield controller
    controller.close()


def draw(controller: Controller, frame: int, object_id: int) -> None:
    controller.add_mark(frame, Scribble(object_id, np.array(stroke_on(frame, object_id))))


def content(controller: Controller) -> str:
    """Everything that undo must bring back, to the byte."""
    state = controller.session.state
    parts = [
        controller.objects.to_json(),
        sorted((f, repr(m)) for f, m in controller.marks.items()),
        state.object_ids,
        [(r.number, r.annotation.frame, r.object_ids, r.empty, len(r.annotation.scribbles)) for r in state.rounds],
        [(m.frame, m.object_ids, m.entry.colour.numpy().tobytes()) for m in state.memory],
        {f: (p.object_ids, p.format, p.data) for f, p in sorted(state.predictions.items())},
        {f: (p.object_ids, p.format, p.data) for f, p in sorted(state.base_predictions.items())},
        sorted((f, s.hex()) for f, s in state.scores.items()),
        state.opinions,
    ]
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def test_a_stroke_run_through_the_video_finds_the_square_on_every_frame(controller):
    draw(controller, 5, 1)
    seen: list[Progress] = []
    assert controller.run(report=seen.append)
    truth = squares()[1]
    for frame in range(12):
        np.testing.assert_array_equal(controller.mask(frame), np.where(truth[frame] == 1, 1, 0))
        np.testing.assert_array_equal(controller.mask(frame), controller.session.mask(frame))
    assert [p.frame for p in seen] == [5, 4, 3, 2, 1, 0, 6, 7, 8, 9, 10, 11]
    assert [p.done for p in seen] == list(range(12)) and {p.total for p in seen} == {11}
    assert controller.marks == {} and controller.session.annotated_frames == [5]


def test_every_step_can_be_undone_and_redone_to_the_same_bytes(controller):
    def hide_is_no_step():
        controller.change_object(2, hidden=True)

    commands = [
        lambda: draw(controller, 5, 1),
        lambda: controller.add_mark(5, Click(0, 0.9, 0.9)),
        lambda: controller.erase(5, np.array([[0.9, 0.9]]), 0.05),
        lambda: controller.run(),
        lambda: controller.add_object(name="blue"),
        lambda: controller.change_object(1, name="red square"),
        lambda: (draw(controller, 8, 2), controller.run(RunOptions("forward"))),
        lambda: controller.import_mask(2, squares()[1][2]),
        lambda: controller.import_masks(enumerate(squares(count=3)[1][:4])),
        lambda: controller.remove_object(1),
    ]
    contents = {controller.history.position: content(controller)}
    for command in commands:
        command()
        contents[controller.history.position] = content(controller)
    end = controller.history.position
    assert end == 13  # ten commands, of which each run with a stroke is two and one draws as well
    assert len(set(contents.values())) == len(contents) - 1  # erasing the click gives what was before it
    for position in range(end - 1, -1, -1):
        controller.undo()
        if position in contents:
            assert content(controller) == contents[position], controller.history.present.label
    with pytest.raises(UserError, match="nothing to undo"):
        controller.undo()
    for position in range(1, end + 1):
        controller.redo()
        if position in contents:
            assert content(controller) == contents[position], controller.history.present.label
    with pytest.raises(UserError, match="nothing to redo"):
        controller.redo()
    hide_is_no_step()
    assert controller.history.position == end


def test_redoing_by_hand_gives_what_redo_gives(controller):
    draw(controller, 5, 1)
    controller.run()
    first = content(controller)
    controller.undo(), controller.undo()
    controller.run()
    assert content(controller) == first


def test_a_new_command_after_undo_ends_the_redo_line(controller):
    draw(controller, 5, 1)
    draw(controller, 6, 1)
    controller.undo()
    draw(controller, 7, 1)
    assert controller.marked_frames == [5, 7]
    with pytest.raises(UserError, match="nothing to redo"):
        controller.redo()


def test_cancelled_run_keeps_what_it_reached_and_running_again_goes_on(controller, tmp_path):
    draw(controller, 5, 1)
    seen: list[int] = []
    assert not controller.run(report=lambda p: seen.append(p.frame), cancelled=lambda: len(seen) == 4)
    assert sorted(controller.session.state.predictions) == [2, 3, 4, 5]
    assert controller.history.present.label == "Propagation, 3 of 11 (stopped) frames"
    controller.run()
    other = opened(tmp_path / "other")
    draw(other, 5, 1)
    other.run()
    for frame in range(12):
        assert controller.session.state.predictions[frame].data == other.session.state.predictions[frame].data
    other.close()


def test_cancel_before_the_first_propagated_frame_keeps_the_annotated_one(controller):
    draw(controller, 5, 1)
    assert not controller.run(cancelled=lambda: True)
    assert list(controller.session.state.predictions) == [5]
    assert controller.history.present.label == "Round 1, frame 6"


def test_direction_and_range_limit_the_frames(controller):
    draw(controller, 5, 1)
    seen: list[int] = []
    controller.run(RunOptions("forward", 0, 8), report=lambda p: seen.append(p.frame))
    assert seen == [5, 6, 7, 8]


def test_closing_and_opening_gives_back_everything_with_its_history(tmp_path):
    controller = opened(tmp_path / "w")
    draw(controller, 5, 1)
    controller.run()
    controller.add_object(name="blue")
    draw(controller, 3, 2)
    controller.undo()
    present, token = content(controller), controller.session_token
    controller.redo()
    later = content(controller)
    controller.undo()
    controller.close()

    again = opened(tmp_path / "w")
    assert content(again) == present
    assert again.session_token != token
    again.redo()
    assert content(again) == later
    again.run()  # goes on with the memory of before
    np.testing.assert_array_equal(again.mask(2), squares()[1][2])
    for _ in range(again.history.position):
        again.undo()
    assert again.session.state.predictions == {} and again.marks == {}
    again.close()


class Killed(BaseException):
    """Stands for the end of the process."""


def test_killed_in_mid_propagation_the_reached_frames_are_there(tmp_path):
    controller = opened(tmp_path / "w")
    draw(controller, 5, 1)

    def die(progress: Progress) -> None:
        if progress.done == 4:
            # Nothing may be written by the dying run: a killed process has no `finally`.
            controller.workspace.record = lambda *a, **k: None
            raise Killed

    with pytest.raises(Killed):
        controller.run(report=die)
    controller.workspace.database.connection.close()

    again = opened(tmp_path / "w")
    assert sorted(again.session.state.predictions) == [1, 2, 3, 4, 5]
    assert again.history.present.label == "Propagation of 4 frames (stopped)"
    assert again.session.annotated_frames == [5]
    np.testing.assert_array_equal(again.mask(2), np.where(squares()[1][2] == 1, 1, 0))
    again.undo()
    assert list(again.session.state.predictions) == [5]
    again.close()


def test_a_second_program_on_the_same_workspace_is_refused(controller):
    with pytest.raises(UserError, match="already open in another GIS window"):
        opened(controller.workspace.folder)


def test_a_workspace_of_another_video_network_or_size_is_refused(controller, tmp_path):
    folder = controller.workspace.folder
    controller.close()
    with pytest.raises(UserError, match="belongs to the video squares"):
        Controller(make_segmenter(), square_frames(frames=13), folder)
    other = make_segmenter()
    other.network_id = "another"
    with pytest.raises(UserError, match="made with the network colour"):
        Controller(other, square_frames(), folder)
    opened(folder).close()  # and none of this damaged it


def test_a_failing_network_leaves_everything_as_it_was(controller, monkeypatch):
    draw(controller, 5, 1)
    before = content(controller)
    monkeypatch.setattr(controller.segmenter.network, "memorise", lambda *a: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        controller.run()
    assert content(controller) == before
    monkeypatch.undo()
    assert controller.run()


def test_a_full_disk_leaves_everything_as_it_was(controller, monkeypatch):
    draw(controller, 5, 1)
    before, position = content(controller), controller.history.position

    def full(*args, **options):
        raise UserError("disk full")

    monkeypatch.setattr(controller.workspace, "record", full)
    for command in (
        lambda: draw(controller, 6, 1),
        lambda: controller.add_object(),
        lambda: controller.segment_frame(5),
        lambda: controller.import_mask(3, squares()[1][3]),
    ):
        with pytest.raises(UserError, match="disk full"):
            command()
        assert content(controller) == before and controller.history.position == position


def test_an_object_whose_deletion_cannot_be_written_stays(controller, monkeypatch):
    draw(controller, 5, 1)
    controller.run()
    before = content(controller)

    def full(*args, **options):
        raise UserError("disk full")

    monkeypatch.setattr(controller.workspace, "record", full)
    with pytest.raises(UserError, match="disk full"):
        controller.remove_object(1)
    assert content(controller) == before


def test_memory_that_a_failed_write_took_back_is_written_again(controller, tmp_path, monkeypatch):
    draw(controller, 5, 1)
    controller.run()
    propagate = controller.segmenter.propagate

    def replacing(session, **options):
        """As a second opinion does: another record of the annotated frame is in the memory afterwards."""
        record = session.state.memory[0]
        session.state.memory[0] = replace(record, entry=record.entry.select_objects([0]))
        yield from propagate(session, **options)

    def full(*args):
        raise UserError("disk full")

    monkeypatch.setattr(controller.segmenter, "propagate", replacing)
    with monkeypatch.context() as patched:
        patched.setattr(controller.workspace, "_write_position", full)  # when the record's entry was written already
        with pytest.raises(UserError, match="disk full"):
            controller.run()
    draw(controller, 7, 1)
    after = content(controller)
    controller.close()
    again = opened(tmp_path / "w")
    assert content(again) == after
    again.close()


def test_memory_that_no_state_needs_is_let_go(controller, monkeypatch):
    """On a GPU every annotated frame takes megabytes of it."""
    monkeypatch.setattr("libs.app.workspace.RECENT", 1)
    entries = []
    for frame in (3, 5, 7, 9):
        draw(controller, frame, 1)
        controller.run()
        entries.append(weakref.ref(controller.session.state.memory[-1].entry))
    for _ in range(9):
        controller.undo()
    gc.collect()
    assert [entry() is None for entry in entries[1:]] == [True, True, True]
    for _ in range(9):
        controller.redo()
    assert len(controller.session.state.memory) == 4


def test_how_often_a_frame_was_judged_again_outlives_the_program(controller, tmp_path, monkeypatch):
    propagate = controller.segmenter.propagate

    def asking(session, **options):
        yield from propagate(session, **options)
        session.state.opinions = 2

    monkeypatch.setattr(controller.segmenter, "propagate", asking)
    draw(controller, 5, 1)
    controller.run()
    controller.close()
    again = opened(tmp_path / "w")
    assert again.session.state.opinions == 2
    again.close()


def test_locked_object_keeps_its_mask_to_the_pixel(controller):
    controller.add_object()
    draw(controller, 5, 1), draw(controller, 5, 2)
    controller.run()
    masks = [controller.mask(f) for f in range(12)]
    controller.change_object(2, locked=True)
    with pytest.raises(UserError, match="locked"):
        draw(controller, 5, 2)

    def take_over() -> None:  # a stroke of object 1 on object 2
        controller.clear_marks(4)
        controller.add_mark(4, Scribble(1, np.array(stroke_on(4, 2))))
        controller.run()

    before = controller.probabilities(4)[2]
    take_over()
    for frame in range(12):
        np.testing.assert_array_equal(controller.mask(frame) == 2, masks[frame] == 2)
    np.testing.assert_allclose(controller.probabilities(4)[2], before, atol=2e-5)
    controller.change_object(2, locked=False)
    take_over()
    assert np.abs(controller.probabilities(4)[2] - before).max() > 5e-3  # it was the lock that kept it


def test_an_object_added_later_is_not_guessed_on_frames_where_nothing_is_known_of_it(controller):
    draw(controller, 5, 1)
    controller.run()
    controller.add_object()
    draw(controller, 6, 2)
    controller.segment_frame(6)
    draw(controller, 2, 1)
    controller.segment_frame(2)
    assert set(np.unique(controller.mask(2))) == {0, 1}
    assert controller.session.state.memory[-1].object_ids == (1,)
    draw(controller, 6, 2)
    controller.run()
    np.testing.assert_array_equal(controller.mask(9), squares()[1][9])


def test_deleted_objects_are_gone_and_their_ids_are_not_used_again(controller):
    controller.add_object()
    draw(controller, 5, 1), draw(controller, 5, 2)
    controller.run()
    draw(controller, 3, 2)
    controller.remove_object(2)
    assert 3 not in controller.marks
    assert set(np.unique(controller.mask(7))) == {0, 1}
    assert controller.add_object() == 3
    draw(controller, 7, 1)
    controller.run()
    assert set(np.unique(controller.mask(9))) == {0, 1}


def test_imported_masks_come_back_to_the_pixel_even_at_another_working_size(tmp_path):
    from libs.segmenter import Segmenter, SegmenterOptions
    from tests.libs.app.stand_in import ColourNetwork

    segmenter = Segmenter(ColourNetwork(), options=SegmenterOptions(short_side=24), device="cpu")
    controller = Controller(segmenter, square_frames(), tmp_path / "w")
    noise = np.random.default_rng(0).integers(0, 4, (12, 48, 64), dtype=np.uint8)
    assert controller.import_masks(enumerate(noise), names={3: "third"}) == 12
    for frame in range(12):
        np.testing.assert_array_equal(controller.mask(frame), noise[frame])
    assert controller.objects.ids == (1, 2, 3) and controller.objects.get(3).name == "third"
    assert controller.session.annotated_frames == []
    probabilities = controller.session.padded_probabilities(0)
    np.testing.assert_allclose(probabilities.sum(dim=0), 1)
    draw(controller, 4, 1)
    controller.run()  # the network goes on from them
    assert not np.isnan(controller.session.scores).any()
    controller.import_masks([(7, noise[7])])
    assert np.flatnonzero(np.isnan(controller.session.scores)).tolist() == [7], "nobody scored this mask"
    controller.import_mask(4, noise[4])
    np.testing.assert_array_equal(controller.mask(4), noise[4])
    controller.close()


def test_masks_that_do_not_fit_are_refused_with_nothing_changed(controller):
    before = content(controller)
    cases = [
        (np.zeros((48, 64), np.uint8), "no object"),
        (np.ones((24, 64), np.uint8), "64x24, the video 64x48"),
        (np.ones((48, 64), np.int64), "the mask is"),
    ]
    for mask, message in cases:
        with pytest.raises(UserError, match=message):
            controller.import_mask(0, mask)
    with pytest.raises(UserError, match="no frame 12"):
        controller.import_mask(12, np.ones((48, 64), np.uint8))
    assert content(controller) == before
    void = np.full((48, 64), 255, np.uint8)
    void[:10] = 1
    controller.import_mask(0, void)
    assert (controller.mask(0)[10:] == 0).all()


def test_recommendation_avoids_what_was_worked_on(controller):
    assert controller.recommended("RS1") == []
    draw(controller, 0, 1)
    controller.run()
    scores = controller.session.scores
    scores[0] = np.inf
    assert controller.recommended("RS1", by_help=False) == [int(np.argmin(scores))]
    four = controller.recommended("RS4")
    assert len(four) == 4 and 0 not in four
    draw(controller, four[0], 1)
    assert four[0] not in controller.recommended("RS4")


def test_of_a_video_of_one_frame_no_other_is_proposed(tmp_path):
    frames = ArrayFrames(squares()[0][:1], name="one")
    controller = Controller(make_segmenter(), frames, tmp_path / "w")
    draw(controller, 0, 1)
    controller.run()
    assert controller.mask(0).any() and controller.recommended("RS1") == controller.recommended("RS4") == []
    controller.close()


def test_running_without_any_mark_says_what_to_do(controller):
    with pytest.raises(UserError, match="draw on the object first"):
        controller.run()
    controller.add_mark(0, Scribble(0, np.array([[0.5, 0.5]])))
    with pytest.raises(UserError, match="draw on the object first"):
        controller.run()


def test_undo_steps_are_limited_and_the_oldest_fall_off(tmp_path):
    controller = opened(tmp_path / "w", undo_steps=3)
    for frame in range(6):
        draw(controller, frame, 1)
    for _ in range(3):
        controller.undo()
    assert controller.marked_frames == [0, 1, 2]
    with pytest.raises(UserError, match="nothing to undo"):
        controller.undo()
    controller.close()
    again = opened(tmp_path / "w", undo_steps=3)
    assert again.marked_frames == [0, 1, 2]
    again.redo()
    assert again.marked_frames == [0, 1, 2, 3]
    again.close()


def test_what_no_step_refers_to_is_deleted_when_the_workspace_is_opened(tmp_path):
    controller = opened(tmp_path / "w")
    draw(controller, 5, 1)
    controller.run()
    controller.undo(), controller.undo()
    draw(controller, 1, 1)  # the run can no longer be redone
    count = "SELECT count(*) FROM blob"
    assert controller.workspace.database.rows(count)[0][0] > 12
    controller.close()
    again = opened(tmp_path / "w")
    assert again.workspace.database.rows(count) == [(0,)]
    again.close()


def test_predictions_stay_within_the_cache(tmp_path):
    controller = opened(tmp_path / "w", cache_bytes=3000)
    draw(controller, 5, 1)
    controller.run()
    blobs = controller.workspace.blobs
    largest = max(len(p.data) for p in controller.session.state.predictions.values())
    assert blobs.cached_bytes <= max(3000, largest)
    np.testing.assert_array_equal(controller.mask(9), np.where(squares()[1][9] == 1, 1, 0))
    controller.close()


def test_of_a_long_history_only_the_latest_states_are_held_in_memory(tmp_path):
    controller = opened(tmp_path / "w")
    for _ in range(5):
        draw(controller, 5, 1)
        controller.run(RunOptions(first=4, last=6))
    masks = [controller.mask(f) for f in range(12)]
    entry = controller.session.state.memory[-1].entry
    gc.collect()
    assert len(controller.history.steps) == 16  # a stroke, a round and a propagation each, and the opening
    held = [o for o in gc.get_objects() if type(o) is SessionState]
    assert len(held) <= 5  # of 11; four, and the present one, which changes
    for _ in range(15):
        controller.undo()
    assert controller.session.state == SessionState()
    for _ in range(15):
        controller.redo()
    for frame in range(12):
        np.testing.assert_array_equal(controller.mask(frame), masks[frame])
    assert controller.session.state.memory[-1].entry is entry  # what frames read from it stays known
    controller.close()


def test_a_run_begins_where_an_object_is_drawn(controller):
    controller.add_mark(2, Scribble(0, np.array([[0.9, 0.9], [0.9, 0.95]])))
    draw(controller, 5, 1)
    assert controller.run()
    assert controller.session.annotated_frames == [5, 2] and controller.marks == {}
    np.testing.assert_array_equal(controller.mask(9), np.where(squares()[1][9] == 1, 1, 0))


def test_no_undo_and_no_redo_touches_what_is_hidden(tmp_path):
    controller = opened(tmp_path / "w")
    draw(controller, 5, 1)
    controller.change_object(1, name="red")
    controller.undo()
    controller.change_object(1, hidden=True)
    controller.undo()
    assert controller.objects.get(1).hidden
    controller.redo(), controller.redo()
    assert controller.objects.get(1).hidden and controller.objects.get(1).name == "red"
    controller.close()
    again = opened(tmp_path / "w")
    again.undo()
    assert again.objects.get(1).hidden
    again.change_object(1, hidden=False)
    again.redo()
    assert not again.objects.get(1).hidden
    again.close()
