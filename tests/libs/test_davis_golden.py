"""The golden evaluation: J, F, next frames and strokes of 96 rounds that the published loop played."""

from __future__ import annotations

import json

import numpy as np
import pytest
from skimage.morphology import medial_axis

from dataset_torch.davis import open_davis
from libs.davis_session import DavisEvaluationSession
from tests.golden import FOLDER, _module

# isort: split
from davisinteractive.robot import interactive_robot

CONFIGURATIONS = [
    "wo_RS_J",
    "RS4_J_AND_F",
    pytest.param("wo_RS_J_AND_F", marks=pytest.mark.slow),
    pytest.param("RS1_J_AND_F", marks=pytest.mark.slow),
]
golden_io = _module("golden_io")


@pytest.fixture
def golden_ties(monkeypatch):
    """The golden robot broke the skeleton's ties with seed 0 of today's generator; ours does as 2020's."""
    monkeypatch.setattr(interactive_robot, "medial_axis", lambda image: medial_axis(image, rng=0))


@pytest.mark.parametrize("configuration", CONFIGURATIONS)
def test_every_round_is_judged_and_answered_as_recorded(configuration, tmp_path, golden_ties):
    data = open_davis(FOLDER / "e2e" / "DAVIS")
    recorded = json.loads((FOLDER / "e2e" / f"{configuration}.json").read_text())
    arrays = np.load(FOLDER / "e2e" / f"{configuration}.npz")
    expected = {sequence.name: golden_io.given(configuration, sequence.name) for sequence in data.sequences}
    played = 0
    with DavisEvaluationSession(data, results_dir=tmp_path, metric=recorded["metric"]) as session:
        while session.next():
            name, scribbles, _ = session.get_scribbles()
            number = session.round
            recorded_strokes = expected[name][number - 1]["scribbles"]
            for frame, (given, strokes) in enumerate(zip(scribbles["scribbles"], recorded_strokes, strict=True)):
                drawn = [(stroke["object_id"], stroke["path"]) for stroke in given]
                assert drawn == [(stroke["object_id"], stroke["path"]) for stroke in strokes], (name, number, frame)
            facts = recorded["sequences"][name]["rounds"][number - 1]
            assert session.annotated_frame == facts["scribble_frame"]
            scores = session.submit_masks(arrays[f"{name}/masks"][number - 1], facts["candidates"])
            np.testing.assert_allclose(scores.jaccard, arrays[f"{name}/J"][number - 1], atol=1e-9, rtol=0)
            np.testing.assert_allclose(scores.contour, arrays[f"{name}/F"][number - 1], atol=1e-9, rtol=0)
            if number < session.max_rounds:
                assert scores.next_frame == facts["robot_next_frame"]
            played += 1
        assert played == 24
        means = session.summary().framework["curve"][recorded["metric"]]
    np.testing.assert_allclose(means[1:9], recorded["curve_metric"], atol=1e-9, rtol=0)
