"""What the compatibility layer makes of the framework, against figures worked out by hand and against 2020's."""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dataset_torch.errors import UserError
from libs import davis_compat

# isort: split
from davisinteractive.dataset import Davis
from davisinteractive.evaluation import EvaluationService
from davisinteractive.metrics import batched_f_measure, batched_jaccard
from davisinteractive.robot import InteractiveScribblesRobot, interactive_robot
from davisinteractive.session import DavisInteractiveSession

DATA = Path(__file__).parents[1] / "data"
ROOT = Path(__file__).parents[2]


@pytest.fixture
def service(monkeypatch, tmp_path):
    """An evaluation of two one-object sequences of two frames, two rounds, 100 s, by J."""
    for name in ("one", "two"):
        entry = {"num_frames": 2, "num_objects": 1, "num_scribbles": 1, "image_size": [4, 4], "validated": True}
        monkeypatch.setitem(Davis.dataset, name, entry)
    monkeypatch.setitem(Davis.sets, "hand", ["one", "two"])
    return EvaluationService("hand", davis_root=str(tmp_path), max_t=100, max_i=2, metric_to_optimize="J")


def store(service, sequence, number, seconds, jaccard):
    service.storage.store_interactions_results("u", "s", sequence, 1, number, seconds, [1, 1], [0, 1], jaccard, jaccard)


def summary(service):
    return service.summarize_report(service.get_report(session_id="s"))


def test_auc_and_metric_at_60_by_hand(service):
    for name in ("one", "two"):
        store(service, name, 1, 40.0, [0.2, 0.4])
        store(service, name, 2, 40.0, [0.6, 0.8])
    result = summary(service)
    assert result["curve"]["time"] == [0, 40, 80, 100]
    np.testing.assert_allclose(result["curve"]["J"], [0, 0.3, 0.7, 0.7], atol=1e-12)
    # 40 s from 0 to .3, 40 s from .3 to .7, 20 s at .7, of 100 s
    assert result["auc"] == pytest.approx((40 * 0.15 + 40 * 0.5 + 20 * 0.7) / 100, abs=1e-12)
    assert result["metric_at_threshold"] == {"threshold": 60, "J": pytest.approx(0.5, abs=1e-12)}


def test_a_round_that_timed_out_counts_with_the_scores_before_at_no_time(service):
    store(service, "one", 1, 40.0, [0.2, 0.4])
    store(service, "one", 2, 40.0, [0.6, 0.8])
    store(service, "two", 1, 20.0, [0.5, 0.5])  # its second round is missing: 0.5 again, in 0 s
    result = summary(service)
    assert result["curve"]["time"] == [0, 30, 50, 100]
    np.testing.assert_allclose(result["curve"]["J"], [0, 0.4, 0.6, 0.6], atol=1e-12)
    assert result["auc"] == pytest.approx((30 * 0.2 + 20 * 0.5 + 50 * 0.6) / 100, abs=1e-12)
    assert result["metric_at_threshold"]["J"] == pytest.approx(0.6, abs=1e-12)


def test_a_sample_that_never_was_in_time_counts_as_zero(service):
    store(service, "one", 1, 10.0, [0.8, 0.8])
    store(service, "one", 2, 10.0, [0.8, 0.8])
    result = summary(service)
    assert result["curve"]["time"] == [0, 5, 10, 100]
    np.testing.assert_allclose(result["curve"]["J"], [0, 0.4, 0.4, 0.4], atol=1e-12)


def test_everything_timed_out_is_zero(service):
    result = summary(service)
    assert result["auc"] == 0
    assert result["metric_at_threshold"]["J"] == 0
    assert result["curve"] == {"time": [0, 0, 0, 100], "J": [0, 0, 0, 0]}


def test_a_report_read_from_a_file_gives_the_same_summary(service, tmp_path):
    store(service, "one", 1, 40.0, [0.2, 0.4])
    service.get_report(session_id="s").to_csv(tmp_path / "report.csv")
    read = pd.read_csv(tmp_path / "report.csv", index_col=0)
    assert service.summarize_report(read) == summary(service)


def test_j_and_f_by_hand():
    truth, found = np.zeros((2, 2, 8, 8), int)
    truth[0, :, :4] = 1  # left half: 32 pixels
    found[0, :, :2] = 1  # a quarter: 16 of them
    assert batched_jaccard(truth, found, average_over_objects=False, nb_objects=1).tolist() == [[0.5], [1.0]]
    # Contours are columns 3 and 1, each 8 pixels; the tolerance, .008 x 11.3, is rounded up to 1 pixel: no match.
    assert batched_f_measure(truth, found, average_over_objects=False, nb_objects=1).tolist() == [[0.0], [1.0]]
    found[0, :, 2] = 1  # columns 3 and 2: all match
    assert batched_f_measure(truth, found, average_over_objects=False, nb_objects=1)[0, 0] == 1.0


def test_skeletons_are_those_of_2020():
    """Made with Python 3.7, NumPy 1.18.3 and scikit-image 0.16.2."""
    with np.load(DATA / "davis" / "skeletons_2020.npz") as file:
        shape = tuple(file["shape"])
        count = int(np.prod(shape))
        masks, skeletons = (np.unpackbits(file[n])[:count].reshape(shape).astype(bool) for n in ("masks", "skeletons"))
    for mask, skeleton in zip(masks, skeletons, strict=True):
        np.testing.assert_array_equal(interactive_robot.medial_axis(mask), skeleton)


def test_the_robot_draws_the_same_twice():
    rng = np.random.default_rng(0)
    truth = (rng.random((1, 30, 40)).cumsum(axis=2) % 6 < 3).astype(int)
    robot = InteractiveScribblesRobot(min_nb_nodes=2)
    drawn = [robot.interact("x", 1 - truth, truth, nb_objects=1, frame=0)["scribbles"][0] for _ in range(2)]
    assert drawn[0]
    assert [stroke["path"] for stroke in drawn[0]] == [stroke["path"] for stroke in drawn[1]]


def test_of_equally_bad_frames_the_earliest_is_next(monkeypatch, tmp_path):
    entry = {"num_frames": 40, "num_objects": 1, "num_scribbles": 1, "image_size": [8, 8], "validated": True}
    monkeypatch.setitem(Davis.dataset, "ties", entry)
    monkeypatch.setitem(Davis.sets, "ties", ["ties"])
    service = EvaluationService("ties", davis_root=str(tmp_path), max_i=5, metric_to_optimize="J")
    truth = np.zeros((40, 8, 8), int)
    truth[:, 2:6, 2:6] = 1
    monkeypatch.setattr(service.davis, "load_annotations", lambda sequence: truth)
    wrong, chosen = truth.copy(), []
    wrong[7:, 2:4] = 0  # frames 7 to 39 are equally bad, 0 to 6 perfect
    for number in range(1, 5):
        service.post_predicted_masks("ties", 1, wrong, 1.0, number, "u", "s")
        chosen.append(int(service.storage.annotated_frames["frame"].iloc[-1]))
    assert chosen == [7, 8, 9, 10]


def test_missing_files_are_named_and_never_downloaded(tmp_path):
    with pytest.raises(UserError, match="never downloaded"), DavisInteractiveSession(davis_root=str(tmp_path)):
        pass


def test_another_version_is_refused(monkeypatch):
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "1.0.5")
    with pytest.raises(UserError, match=r"1\.0\.5 is installed"):
        davis_compat._check_installation()


def test_a_missing_framework_is_told_with_the_remedy(monkeypatch):
    def missing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    with pytest.raises(UserError, match=r"pip install -r requirements\.txt"):
        davis_compat._check_installation()


def test_importing_the_framework_first_is_refused():
    code = "import davisinteractive.common\nimport libs.davis_compat"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "Import libs.davis_compat first" in done.stderr


def test_the_stubbed_extension_says_what_it_is():
    from davisinteractive.third_party.mask_api import mask

    with pytest.raises(AttributeError, match="only host='localhost' works"):
        mask.encode_mask(np.ones((2, 2), int))


def test_strokes_are_plain_json(service):
    truth = np.zeros((1, 30, 30), int)
    truth[0, 5:25, 5:25] = 1
    drawn = service.robot.interact("x", 0 * truth, truth, nb_objects=1, frame=0)
    assert json.loads(json.dumps(drawn)) == drawn
