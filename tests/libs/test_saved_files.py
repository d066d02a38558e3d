"""Files that an earlier version wrote (November 2026) are read as they were meant."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from libs.interactions import Click, FrameAnnotation
from libs.segmenter import Segmenter
from tests.fakes import ColourNetwork, squares_video
from tests.libs.app.stand_in import squares
from tests.libs.app.test_controller import opened
from tests.libs.test_segmenter import annotation

SAVED = Path(__file__).parents[1] / "data" / "saved"


def test_a_session_file():
    frames, masks = squares_video()
    segmenter = Segmenter(ColourNetwork())
    session = segmenter.load(SAVED / "session.gis", frames)
    strokes = FrameAnnotation(0, annotation(0, masks).scribbles, (Click(0, 0.9, 0.9),))
    assert [r.annotation for r in session.rounds] == [strokes, FrameAnnotation(3, mask=masks[3]), FrameAnnotation(1)]
    assert [r.empty for r in session.rounds] == [False, False, True]
    assert session.object_ids == (1, 2) and session.state.removed == {7: 3} and session.state.opinions == 0
    np.testing.assert_array_equal(session.masks(), masks)
    assert not np.isnan(session.scores).any()
    segmenter.annotate(session, annotation(5, masks))  # and goes on
    assert [r.frame for r in segmenter.propagate(session)] == [4]


def test_an_apps_workspace(tmp_path):
    (tmp_path / "w").mkdir()
    shutil.copy(SAVED / "session.db", tmp_path / "w" / "session.db")
    controller = opened(tmp_path / "w")
    truth = squares()[1]
    labels = [step.label for step in controller.history.steps]
    assert labels[2:6] == ["Round 1, frame 6", "Propagation, 11 frames", "Import mask, frame 3", "Add Object 3"]
    assert controller.session.annotated_frames == [5, 2] and controller.marked_frames == [7]
    assert controller.session.state.removed == {2: 2} and controller.objects.ids == (1, 3)
    np.testing.assert_array_equal(controller.mask(2), np.where(truth[2] == 1, 1, 0))
    while controller.history.position > 4:
        controller.undo()
    np.testing.assert_array_equal(controller.mask(2), truth[2])
    np.testing.assert_array_equal(controller.session.rounds[1].annotation.mask, truth[2])
    np.testing.assert_array_equal(controller.mask(9), np.where(truth[9] == 1, 1, 0))
    controller.close()
