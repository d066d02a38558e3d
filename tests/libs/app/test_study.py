from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from dataset_torch.davis import DavisSequence
from dataset_torch.errors import UserError
from dataset_torch.frames import open_frames
from dataset_torch.masks import write_mask
from libs.app.application import Application, AppSettings
from libs.app.controller import Controller
from libs.app.security import Folders
from libs.app.study import Study, StudyClock, StudyResult
from libs.interactions import Scribble
from tests.libs.app.conftest import write_frames
from tests.libs.app.stand_in import make_segmenter, squares, stroke_on


class Watch:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_times_of_two_rounds_by_hand():
    watch = Watch()
    clock = StudyClock(watch)
    watch.now = 150  # reading the instructions costs nothing
    clock.start()
    watch.now = 160
    clock.stroke(2)  # drawn from 158 to 160: 8 s of finding
    watch.now = 163
    clock.stroke(1)  # a second stroke of the same round
    watch.now = 165
    clock.operation_begins()  # 7 s of scribbling
    watch.now = 175
    clock.operation_ends()  # 10 s of operation
    watch.now = 180
    clock.stroke(1)  # 4 s of finding
    watch.now = 181
    clock.operation_begins()  # 2 s of scribbling
    watch.now = 184
    clock.operation_ends()  # 3 s of operation
    watch.now = 190
    clock.finish()  # 6 s of looking whether it is good
    watch.now = 999
    assert clock.times == {"finding": 18.0, "scribble": 9.0, "operation": 13.0}


def test_a_refused_run_goes_on_with_what_went_on_before_and_times_cannot_be_negative():
    watch = Watch()
    clock = StudyClock(watch)
    clock.start()
    watch.now = 101
    clock.stroke(50)  # longer than the clock runs: a page that counts wrongly cannot take time away
    clock.operation_begins()
    watch.now = 102
    clock.operation_ends(good=False)
    assert clock.phase == "scribble"
    clock.finish()
    assert clock.times == {"finding": 0.0, "scribble": 1.0, "operation": 1.0}


@pytest.fixture
def sequence(tmp_path: Path) -> DavisSequence:
    folder = write_frames(tmp_path / "squares")
    truth = squares()[1]
    for index, mask in enumerate(truth):
        write_mask(tmp_path / "truth" / f"{index:05d}.png", mask)
    files = tuple(sorted(folder.iterdir()))
    return DavisSequence("squares", 48, 64, files, tuple(sorted((tmp_path / "truth").iterdir())), (1, 2))


def test_the_table_has_the_published_columns_and_a_row_per_object(sequence, tmp_path):
    columns = "sequence,obj_id,N_rounds,final_J,final_F,scribble_time,operation_time,finding_time,total_time"
    assert ",".join(f.name for f in fields(StudyResult)) == columns
    for person in range(2):
        watch = Watch()
        study = Study(sequence, "RS4", tmp_path / "results", clock=watch)
        controller = Controller(make_segmenter(), sequence.frames(), tmp_path / f"w{person}")
        study.prepare(controller)
        assert controller.objects.ids == (1, 2)
        with pytest.raises(UserError, match="press Start first"):
            study.check_running()
        study.clock.start()
        with pytest.raises(UserError, match="nothing was run"):
            study.finish(controller)
        watch.now += 3
        for object_id in (1, 2):
            controller.add_mark(5, Scribble(object_id, np.array(stroke_on(5, object_id))))
            study.clock.stroke(1)
        study.clock.operation_begins()
        watch.now += 5
        controller.run()
        study.run_ended(5, good=True)
        result = study.finish(controller)
        assert result["J"] == 1 and result["F"] == 1
        with pytest.raises(UserError, match="finished"):
            study.check_running()
        rounds = (tmp_path / f"w{person}" / "rounds.csv").read_text().splitlines()
        assert rounds[1] == "1,5,1.0000,5.0000,2.0000"
        controller.close()
    lines = (tmp_path / "results" / "RS4.csv").read_text().splitlines()
    assert lines[0] == columns
    assert lines[1:3] == [
        "squares,1,1,1.0000,1.0000,1.0000,5.0000,2.0000,8.0000",
        "squares,2,1,1.0000,1.0000,1.0000,5.0000,2.0000,8.0000",
    ]
    assert lines[3:] == lines[1:3]  # the second person's


@pytest.mark.parametrize(("condition", "offered"), [("wo_RS", set()), ("RS1", {"RS1"}), ("RS4", {"RS4"})])
def test_the_page_gets_only_what_the_condition_offers(sequence, tmp_path, condition, offered):
    application = Application(make_segmenter(), AppSettings(Folders([tmp_path]), workspace=tmp_path / "w"))
    application.study = Study(sequence, condition, tmp_path / "results")
    application.open(tmp_path / "squares").result()
    state = application.describe()
    ticket = {"session": state["session"], "revision": state["revision"]}
    with pytest.raises(UserError, match="press Start first"):
        application.run(ticket)
    with pytest.raises(UserError, match="not shown"):
        application.truth(0)
    with pytest.raises(UserError, match="no other video"):
        application.open_from_page(str(tmp_path / "squares"))
    for what in ("no mask", "no other video"):
        with pytest.raises(UserError, match="during the evaluation"):
            application.refuse_in_study(what)
    assert set(state["recommended"]) == offered
    assert state["study"]["guidance"] == (None if condition == "wo_RS" else condition)
    application.close()


def test_the_ground_truth_is_shown_if_asked(sequence, tmp_path):
    application = Application(make_segmenter(), AppSettings(Folders([tmp_path]), workspace=tmp_path / "w"))
    application.study = Study(sequence, "RS1", tmp_path / "results", truth=True)
    application.open(tmp_path / "squares").result()
    np.testing.assert_array_equal(application.truth(3), squares()[1][3])
    with pytest.raises(UserError, match="no frame 12"):
        application.truth(12)
    application.close()


def test_objects_cannot_be_replaced_in_a_session_that_was_worked_on(tmp_path):
    controller = Controller(make_segmenter(), open_frames(write_frames(tmp_path / "squares")), tmp_path / "w")
    controller.add_object()
    with pytest.raises(UserError, match="nothing was done"):
        controller.replace_objects([4])
    controller.close()
