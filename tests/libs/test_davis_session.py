"""The evaluation on tiny data sets: protocol, resuming, sharing, limits, refusals."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from dataset_torch.davis import open_davis
from dataset_torch.errors import UserError
from libs.davis_session import DavisEvaluationSession
from tests.davis_data import imperfect, square_masks, write_sequence

# isort: split
from davisinteractive.connector.local import LocalConnector
from davisinteractive.dataset import Davis

ROOT = Path(__file__).parents[2]


def write_data(root):
    """Two sequences, three samples; one bears the name of a sequence of DAVIS."""
    write_sequence(root, "bear", object_ids=(1, 2), scribble_sets=2)
    write_sequence(root, "own", num_frames=3)
    return open_davis(root)


@pytest.fixture
def data(tmp_path):
    return write_data(tmp_path / "data")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The session of a run of three rounds that nothing interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    return play(write_data(folder / "data"), folder / "out")[1]


def play(data, results, *, stop_after=None, predict=imperfect, **settings):
    """Play everything that is left, or some rounds; gives the scores of the rounds and the closed session."""
    settings = {"max_rounds": 3, "metric": "J", **settings}
    rounds = []
    with DavisEvaluationSession(data, results_dir=results, **settings) as session:
        while (stop_after is None or len(rounds) < stop_after) and session.next():
            name, _, _ = session.get_scribbles()
            rounds.append(session.submit_masks(predict(data[name].ground_truth(), session.round)))
    return rounds, session


def tables(session):
    """What must not depend on how a run went: everything but times."""
    report = session.get_report().drop(columns="timing")
    return report.to_csv(index=False), session.object_table().to_csv(index=False)


def test_the_loop(data, tmp_path):
    seen = []
    with DavisEvaluationSession(data, results_dir=tmp_path / "out", metric="J", max_rounds=2) as session:
        while session.next():
            name, scribbles, is_new = session.get_scribbles()
            assert (name, scribbles["sequence"]) == (session.sample.sequence, session.sample.sequence)
            drawn = [frame for frame, strokes in enumerate(scribbles["scribbles"]) if strokes]
            seen.append((name, session.sample.scribble_set, session.round, is_new, session.annotated_frame in drawn))
            masks = imperfect(data[name].ground_truth(), session.round)
            scores = session.submit_masks(masks)
            truth = data[name].ground_truth()
            j = ((truth == 1) & (masks == 1)).sum((1, 2)) / ((truth == 1) | (masks == 1)).sum((1, 2))
            np.testing.assert_allclose(scores.jaccard[:, 0], j)
            assert scores.next_frame == (int(scores.jaccard.mean(axis=1).argmin()) if session.round == 2 else None)
    assert seen == [
        (name, number, round_number, round_number == 1, True)
        for name, number in (("bear", 1), ("bear", 2), ("own", 1))
        for round_number in (1, 2)
    ]


def test_figures_by_hand(tmp_path):
    """One object on three frames; J is 1 or 0 on a frame, so every figure can be counted."""
    write_sequence(tmp_path / "data", "own", num_frames=3)

    def predict(masks, number):  # round 1: one frame right, then two, then three
        return np.where(np.arange(3)[:, None, None] < number, masks, 0)

    _, session = play(open_davis(tmp_path / "data"), tmp_path / "out", predict=predict)
    table = session.object_table()
    assert list(table.columns) == ["sequence", "obj_idx", "scr_idx", "round-1", "round-2", "round-3"]
    assert table.loc[0, ["sequence", "obj_idx", "scr_idx"]].tolist() == ["own", 1, 1]
    np.testing.assert_allclose(table.iloc[0, 3:].astype(float), [1 / 3, 2 / 3, 1])
    report = session.get_report()
    assert len(report) == 9
    assert report.loc[report["interaction"] == 1, "jaccard"].tolist() == [1, 0, 0]
    summary = session.summary()
    np.testing.assert_allclose(summary.rounds, [1 / 3, 2 / 3, 1])
    assert summary.r_auc == pytest.approx(2 / 3)  # (1/6 + 2/3 + 1/2) / 2
    assert summary.horizon == 90  # 3 rounds x 30 s x 1 object
    assert summary.timed_out == ()
    assert summary.framework["curve"]["time"][-1] == 90
    assert 0.9 < summary.auc <= 1  # at once at 1, for 90 s
    assert summary.framework["metric_at_threshold"] == {"threshold": 60, "J": pytest.approx(1)}


def test_a_perfect_predictor_scores_one_and_meets_empty_rounds(data, tmp_path):
    given = []
    with DavisEvaluationSession(data, results_dir=tmp_path / "out", max_rounds=3) as session:
        while session.next():
            name, scribbles, _ = session.get_scribbles()
            given.append((session.round, sum(map(len, scribbles["scribbles"])), session.annotated_frame))
            assert [f for f, s in enumerate(scribbles["scribbles"]) if s] == [1]  # the first round's, no others
            session.submit_masks(data[name].ground_truth())
        assert session.summary().rounds == (1.0, 1.0, 1.0)
        assert session.summary().r_auc == 1.0
    # Nothing to correct: no stroke, and of frames that are all perfect the earliest that is not used up.
    assert [number for number, _, _ in given[:3]] == [1, 2, 3]
    assert given[0][1] == given[1][1] == given[2][1] > 0
    assert [frame for _, _, frame in given[:3]] == [1, 0, 1]


def test_an_empty_predictor_scores_zero(data, tmp_path):
    _, session = play(data, tmp_path / "out", predict=lambda masks, number: 0 * masks)
    assert session.summary().rounds == (0.0, 0.0, 0.0)
    assert session.summary().auc == 0


@pytest.mark.parametrize("metric", ["J", "F", "J_AND_F"])
def test_fast_gives_the_same_as_the_frameworks_own_functions(tmp_path, metric):
    write_sequence(tmp_path / "data", "own", num_frames=3, object_ids=(1, 2))
    data = open_davis(tmp_path / "data")
    sessions = []
    for fast in (True, False):
        rounds, session = play(data, tmp_path / str(fast), fast=fast, max_rounds=2, metric=metric)
        sessions.append(session)
        assert {round_scores.evaluated for round_scores in rounds} == {True}
    assert tables(sessions[0]) == tables(sessions[1])


@pytest.mark.parametrize("stop_after", [1, 3, 5])
def test_an_interrupted_run_ends_as_an_uninterrupted_one(data, tmp_path, stop_after, whole):
    play(data, tmp_path / "parts", stop_after=stop_after)
    rest, session = play(data, tmp_path / "parts")
    assert len(rest) == 9 - stop_after
    assert tables(session) == tables(whole)
    assert play(data, tmp_path / "parts")[0] == []  # nothing is left to do


def test_a_continued_sample_has_all_strokes_and_knows_its_round(data, tmp_path, whole):
    play(data, tmp_path / "out", stop_after=2)
    with DavisEvaluationSession(data, results_dir=tmp_path / "out", metric="J", max_rounds=3) as session:
        assert session.next()
        name, scribbles, is_new = session.get_scribbles()
        assert (name, session.round, is_new) == ("bear", 3, True)
        frames = {frame for frame, strokes in enumerate(scribbles["scribbles"]) if strokes}
        assert {1, session.annotated_frame} <= frames
        with pytest.raises(RuntimeError, match="before the first round"):
            session.forget(name, 1)


def test_a_forgotten_sample_is_played_again(data, tmp_path, whole):
    play(data, tmp_path / "out", stop_after=5)  # one sample is finished, one was begun
    with DavisEvaluationSession(data, results_dir=tmp_path / "out", metric="J", max_rounds=3) as session:
        first = session.all_samples[0]
        assert session.rounds_done(first.sequence, first.scribble_set).finished
        session.forget(first.sequence, first.scribble_set)
        assert session.next()
        _, scribbles, is_new = session.get_scribbles()
        assert (session.sample, session.round, is_new) == (first, 1, True)
        assert [f for f, strokes in enumerate(scribbles["scribbles"]) if strokes] == [1]
    rest, session = play(data, tmp_path / "out")
    assert len(rest) == 3 + 1 + 3 and tables(session) == tables(whole)


def test_two_shards_give_what_one_process_gives(data, tmp_path, whole):
    rounds, second = play(data, tmp_path / "shards", shard=(1, 2))
    assert {r.sample for r in rounds} == {whole.all_samples[1]}
    with pytest.raises(UserError, match=r"2 of 3 samples are not finished \(first: bear/1, own/1\)"):
        second.summary()
    _, first = play(data, tmp_path / "shards", shard=(0, 2))
    assert tables(first) == tables(second) == tables(whole)
    assert first.summary().rounds == whole.summary().rounds


KILLED = """
import os, signal, sys
from dataset_torch.davis import open_davis
from libs.davis_session import DavisEvaluationSession
from tests.davis_data import imperfect
data = open_davis(sys.argv[1])
with DavisEvaluationSession(data, results_dir=sys.argv[2], metric="J", max_rounds=3) as session:
    while session.next():
        name, _, _ = session.get_scribbles()
        if session.round == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        session.submit_masks(imperfect(data[name].ground_truth(), session.round))
"""


def test_kill_9_in_round_2(data, tmp_path, whole):
    command = [sys.executable, "-c", KILLED, str(data.root), str(tmp_path / "killed")]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False)
    assert done.returncode == -signal.SIGKILL
    rest, session = play(data, tmp_path / "killed")
    assert (rest[0].sample.sequence, rest[0].number) == ("bear", 2)  # the first round was kept
    assert tables(session) == tables(whole)


def test_a_time_limit_that_strikes_is_loud_and_carries_scores_on(data, tmp_path, caplog):
    def slow(masks, number):
        if number == 2:
            time.sleep(0.6)
        return imperfect(masks, number)

    # 0.25 s per object: 0.5 s for the two objects of "bear", 0.25 s for "own"
    with caplog.at_level(logging.WARNING):
        rounds, session = play(data, tmp_path / "out", max_time=0.25, predict=slow, fast=True)
    late = [r for r in rounds if not r.evaluated]
    assert all(np.isnan(r.mean("J")) for r in late)
    assert session.unfinished() == ()
    summary = session.summary()
    assert summary.timed_out == ("bear/1", "bear/2", "own/1")
    assert summary.horizon == pytest.approx(0.25 * 1.5)
    assert caplog.text.count("TIME LIMIT") == 3
    table = session.object_table()
    assert len(table) == 5
    assert (table["round-1"] == table["round-3"]).all()  # only the first round can have been in time
    assert play(data, tmp_path / "out", max_time=0.25)[0] == []


def test_everything_too_late_is_zero(data, tmp_path):
    rounds, session = play(data, tmp_path / "out", max_time=1e-9)
    assert {r.evaluated for r in rounds} == {False}
    assert session.summary().auc == 0
    assert session.summary().rounds == (0.0, 0.0, 0.0)
    assert len(session.get_report()) == 0
    assert len(session.object_table()) == 5


def test_no_limit_is_no_limit_and_a_slow_machine_is_told(data, tmp_path, caplog):
    _, session = play(data, tmp_path / "out", horizon=1e-4, max_rounds=2)
    with caplog.at_level(logging.WARNING):
        summary = session.summary()
    assert summary.too_slow
    assert "leaves out the late rounds" in caplog.text
    assert summary.timed_out == ()
    assert len(summary.framework["curve"]["time"]) == 3  # 0 and both rounds
    assert 0 <= summary.auc < summary.rounds[0]  # the horizon ends within the first round's rise
    assert min(summary.rounds) > 0


def test_more_than_the_frameworks_sixteen_rounds(tmp_path):
    write_sequence(tmp_path / "data", "own", num_frames=2)
    rounds, session = play(open_davis(tmp_path / "data"), tmp_path / "out", max_rounds=18, predict=lambda m, n: m)
    assert [r.number for r in rounds] == list(range(1, 19))
    assert session.summary().rounds == (1.0,) * 18


def test_ids_with_gaps_are_the_data_sets_everywhere(tmp_path, caplog):
    masks = square_masks(3, (4, 9))
    write_sequence(tmp_path / "data", "gaps", masks=masks, object_ids=(4, 9))
    write_sequence(tmp_path / "plain", "gaps", num_frames=3, object_ids=(1, 2))
    with caplog.at_level(logging.WARNING):
        gaps = open_davis(tmp_path / "data")
        with DavisEvaluationSession(gaps, results_dir=tmp_path / "out", max_rounds=2, metric="J") as session:
            ids = []
            while session.next():
                _, scribbles, _ = session.get_scribbles()
                ids.append({s["object_id"] for strokes in scribbles["scribbles"] for s in strokes})
                session.submit_masks(imperfect(masks, session.round))
    assert "object ids 4, 9" in caplog.text
    assert ids[0] == {4, 9}
    assert ids[1] == {0, 4, 9}  # the robot's, background included
    assert session.object_table()["obj_idx"].tolist() == [4, 9]
    assert set(session.get_report()["object_id"]) == {4, 9}
    _, plain = play(open_davis(tmp_path / "plain"), tmp_path / "plain_out", max_rounds=2)
    assert plain.summary().rounds == session.summary().rounds


def test_candidates(data, tmp_path, caplog):
    def after(number, candidates):
        """The next frame after `number` rounds with the same candidates; frame 2 is worst, then 3."""
        results = tmp_path / f"{number}-{candidates}"
        with DavisEvaluationSession(data, results_dir=results, metric="J", max_rounds=9) as session:
            for _ in range(number):
                session.next()
                session.get_scribbles()
                masks = data["bear"].ground_truth()
                masks[3, :, 5:9] = 0
                masks[2] = 0
                frame = session.submit_masks(masks, candidates).next_frame
        return frame

    assert after(1, None) == after(1, []) == 2
    assert after(1, [0, 3]) == 3
    assert after(1, [np.int64(3), 0, 77, -1]) == 3  # those that do not exist are ignored
    assert after(2, [2]) == 2  # all used up: the worst of them again
    assert after(2, [2, 0]) == 0
    assert not caplog.records
    assert after(1, [99, -5]) == 2
    assert "none of the candidates [99, -5] exists" in caplog.text


def test_bad_masks_are_refused_and_may_be_corrected(data, tmp_path):
    with DavisEvaluationSession(data, results_dir=tmp_path / "out", max_rounds=1) as session:
        session.next()
        with pytest.raises(RuntimeError, match="get_scribbles must be called"):
            session.submit_masks(np.zeros((4, 40, 60), np.uint8))
        session.get_scribbles()
        with pytest.raises(RuntimeError, match="get_scribbles twice"):
            session.get_scribbles()
        truth = data["bear"].ground_truth()
        for masks, message in (
            (truth[:3], r"must be integers \(4, 40, 60\), got uint8 \(3, 40, 60\)"),
            (truth.astype(float), "got float64"),
            (truth + 1, r"hold \[3\]"),
            (truth.astype(int) - 1, r"hold \[-1\]"),
        ):
            with pytest.raises(ValueError, match=message):
                session.submit_masks(masks)
        assert session.submit_masks(truth.astype(np.int64)).mean("J_AND_F") == 1.0


def test_the_frameworks_own_tables_stay_as_they_were(data, tmp_path):
    before = json.dumps(Davis.dataset), dict(Davis.sets), list(LocalConnector.VALID_SUBSETS)
    with DavisEvaluationSession(data, results_dir=tmp_path / "out"):
        assert Davis.dataset["bear"]["num_frames"] == 82
        assert json.dumps(Davis.dataset) != before[0]
    assert (json.dumps(Davis.dataset), dict(Davis.sets), LocalConnector.VALID_SUBSETS) == before


def test_other_settings_do_not_continue_a_run(data, tmp_path):
    play(data, tmp_path / "out", stop_after=1)
    record = tmp_path / "out" / "progress" / "samples" / "bear-001.json"
    before = record.read_bytes()
    with pytest.raises(UserError, match=r"other settings \(metric: J before, F now\)"):
        play(data, tmp_path / "out", metric="F")
    strokes = data["bear"].scribble_files[0]
    strokes.write_text(strokes.read_text().replace("0.45", "0.46"))
    with pytest.raises(UserError, match=r"other settings .sequences"):
        play(open_davis(data.root), tmp_path / "out")
    assert record.read_bytes() == before


def test_a_damaged_record_is_named(data, tmp_path):
    play(data, tmp_path / "out", stop_after=1)
    record = tmp_path / "out" / "progress" / "samples" / "bear-001.json"
    record.write_text(record.read_text()[:50])
    with pytest.raises(UserError, match=r"bear-001\.json cannot be read.*Delete it"):
        play(data, tmp_path / "out")
    record.write_text('{"rounds": [{}]}')
    with pytest.raises(UserError, match=r"bear-001\.json is damaged"):
        play(data, tmp_path / "out")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"metric": "IoU"}, "unknown metric 'IoU'.*J, F, J_AND_F"),
        ({"max_rounds": 0}, "0 rounds make no evaluation"),
        ({"max_time": 0.0}, "time limit of 0.0 s"),
        ({"horizon": -1.0}, "horizon of -1.0 s"),
        ({"shard": (2, 2)}, "shard 2 of 2 does not exist"),
    ],
)
def test_settings_that_make_no_sense(data, tmp_path, settings, message):
    with pytest.raises(UserError, match=message):
        DavisEvaluationSession(data, results_dir=tmp_path / "out", **settings)
    assert not (tmp_path / "out").exists()


def test_missing_scribbles_are_refused_or_made(tmp_path):
    masks = square_masks(5, (1, 2))
    masks[2][masks[2] == 2] = 0  # the second object is not on the middle frame
    root = tmp_path / "data"
    write_sequence(root, "own", masks=masks, object_ids=(1, 2), scribble_sets=0)
    data = open_davis(root)
    with pytest.raises(UserError, match="no first-round scribbles for own"):
        DavisEvaluationSession(data, results_dir=tmp_path / "out")
    before = sorted(root.rglob("*"))
    files = []
    for results in (tmp_path / "one", tmp_path / "two"):
        with DavisEvaluationSession(data, results_dir=results, max_rounds=1, make_missing_scribbles=True) as session:
            assert session.next()
            _, scribbles, _ = session.get_scribbles()
        assert [frame for frame, strokes in enumerate(scribbles["scribbles"]) if strokes] == [1]
        assert {stroke["object_id"] for stroke in scribbles["scribbles"][1]} == {1, 2}
        files.append((results / "first_scribbles" / "own" / "001.json").read_bytes())
    assert files[0] == files[1]
    assert sorted(root.rglob("*")) == before
