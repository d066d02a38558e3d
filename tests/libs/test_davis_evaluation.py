"""The DAVIS evaluation from files to tables: killed, resumed, shared, timed out, nothing to correct."""

from __future__ import annotations

import json
import shutil
import signal
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from dataset_torch.errors import UserError
from libs.davis_evaluation import evaluate
from libs.evaluation import RoundOutcome
from libs.reports.records import Variant
from libs.reports.storage import load_sample, load_samples, sample_path
from libs.reports.summary import read_object_csv
from libs.segmenter import Segmenter
from tests.fakes import ColourNetwork
from tests.libs import evaluation_runs
from tests.libs.davis_data import CHECKPOINT, play, settings, write_data

LABELS = ("J_AND_F-wo_RS", "J_AND_F-RS4")
tables = partial(evaluation_runs.tables, labels=LABELS)
in_process = partial(evaluation_runs.in_process, "tests.libs.davis_data")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("davis"))


@pytest.fixture(scope="module")
def straight(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that was never stopped."""
    results = tmp_path_factory.mktemp("straight")
    assert play(settings(data, results, pictures=True)) is not None
    return results / "davis" / "run"


def test_everything_is_written(straight: Path) -> None:
    for name in ("report.html", "summary.json", "settings.json", "curve.png", "log.txt"):
        assert (straight / name).stat().st_size > 0, name
    for label in LABELS:
        rows = read_object_csv(straight / label / "summary_in_csv.csv")
        assert [row.key for row in rows] == [
            ("alpha", 1, 1), ("alpha", 2, 1), ("alpha", 1, 2), ("alpha", 2, 2),
            ("beta", 1, 1), ("beta", 2, 1), ("beta", 3, 1),
        ]  # fmt: skip
        assert (straight / label / "davisinteractive_report.csv").stat().st_size > 0
        assert not list((straight / label / "sessions").glob("*"))
    summary = json.loads((straight / "summary.json").read_text())
    for variant in summary["variants"].values():
        first, *_, last = variant["rounds"]["J_AND_F"]
        assert 0 < first < last <= 1 and 0 < variant["auc"] < 1


def test_our_record_and_the_frameworks_report_agree(straight: Path) -> None:
    import pandas as pd

    report = pd.read_csv(straight / LABELS[0] / "davisinteractive_report.csv")
    rows = read_object_csv(straight / LABELS[0] / "objects_J_AND_F.csv")
    means = report.groupby(["sequence", "object_id", "scribble_idx", "interaction"])["j_and_f"].mean()
    for row in rows:
        np.testing.assert_allclose(row.values, [means[(*row.key, r)] for r in (1, 2, 3)], atol=1e-12)


@pytest.mark.parametrize(
    "rounds, where",
    [
        (5, "in-round"),
        (2, "before-record"),
        pytest.param(1, "after-record", marks=pytest.mark.slow),
        pytest.param(6, "before-record", marks=pytest.mark.slow),
    ],
)
def test_a_killed_run_goes_on_to_the_same_tables(
    straight: Path, data: Path, tmp_path: Path, rounds: int, where: str
) -> None:
    process = in_process(data, tmp_path, str(rounds), where)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == -signal.SIGKILL, output
    run = tmp_path / "davis" / "run"
    assert not (run / "report.html").exists()
    kept = sum(len(s.rounds) for label in LABELS for s in load_samples(run, Variant(label.split("-")[1])))
    assert kept == rounds - (where != "after-record")
    assert play(settings(data, tmp_path)) is not None
    assert tables(run) == tables(straight)


@pytest.mark.parametrize(
    "lost",
    [
        "samples/alpha-001.npz",
        pytest.param("progress/samples/alpha-001.json", marks=pytest.mark.slow),
        pytest.param("sessions/*.pt", marks=pytest.mark.slow),
    ],
)
def test_a_sample_that_lost_a_file_is_played_from_its_first_round(
    straight: Path, data: Path, tmp_path: Path, lost: str
) -> None:
    process = in_process(data, tmp_path, "2", "after-record")
    process.communicate(timeout=300)
    assert process.returncode == -signal.SIGKILL
    run = tmp_path / "davis" / "run"
    (file,) = (run / LABELS[0]).glob(lost)
    file.unlink()
    assert play(settings(data, tmp_path)) is not None
    assert tables(run) == tables(straight)


@pytest.mark.parametrize(
    "lost", [pytest.param("samples/alpha-002.npz", marks=pytest.mark.slow), "progress/samples/alpha-002.json"]
)
def test_so_is_a_finished_one(straight: Path, data: Path, tmp_path: Path, lost: str) -> None:
    run = tmp_path / "davis" / "run"
    shutil.copytree(straight, run)
    (run / LABELS[1] / lost).unlink()
    assert play(settings(data, tmp_path)) is not None
    assert tables(run) == tables(straight)
    assert "AGAIN FROM ROUND 1  alpha" in (run / "log.txt").read_text()


@pytest.mark.slow
def test_a_round_that_only_the_framework_knew_of_leaves_masks_and_picture_too(data: Path, tmp_path: Path) -> None:
    process = in_process(data, tmp_path, "2", "before-record", ALSO="save_masks pictures")
    process.communicate(timeout=300)
    assert process.returncode == -signal.SIGKILL
    record = play(settings(data, tmp_path, save_masks=True, pictures=True))
    run = tmp_path / "davis" / "run"
    for variant, label in zip(record.variants, LABELS):
        assert sorted(f"{p.parent.name}/{p.name}" for p in (run / label / "masks").glob("*/round*")) == [
            f"{sample}/round{number}" for sample in ("alpha-001", "alpha-002", "beta-001") for number in (1, 2, 3)
        ]
        for sample in variant.samples:
            assert all((run / r.picture).is_file() for r in sample.rounds if not r.empty)


def test_two_processes_give_the_same_tables_as_one(straight: Path, data: Path, tmp_path: Path) -> None:
    processes = [in_process(data, tmp_path, RANK=str(rank), WORLD_SIZE="2") for rank in range(2)]
    for process in processes:
        output, _ = process.communicate(timeout=300)
        assert process.returncode == 0, output
    assert tables(tmp_path / "davis" / "run") == tables(straight)


def test_the_same_command_again_plays_nothing(straight: Path, data: Path) -> None:
    before = tables(straight)
    files = {p: p.stat().st_mtime_ns for p in straight.glob("*/progress/samples/*.json")}
    assert play(settings(data, straight.parents[1])) is not None
    assert tables(straight) == before
    assert {p: p.stat().st_mtime_ns for p in straight.glob("*/progress/samples/*.json")} == files


def test_another_setting_under_the_same_name_is_refused(straight: Path, data: Path) -> None:
    before = tables(straight)
    with pytest.raises(UserError, match=r"run with other settings \(--rounds: there 3, now 2\)"):
        play(settings(data, straight.parents[1], rounds=2))
    with pytest.raises(UserError, match=r"\(--guidance: there wo_RS,RS4, now wo_RS\)"):
        play(settings(data, straight.parents[1], guidance=("wo_RS",)))
    with pytest.raises(UserError, match=r"\(--compile: there false, now true\)"):
        play(settings(data, straight.parents[1], compile=True))
    assert tables(straight) == before


def oracle(monkeypatch: pytest.MonkeyPatch, answer) -> None:
    """Let every round answer with `answer(ground truth)` instead of the network."""
    import libs.davis_evaluation as module

    original = module._Player._open_sample
    truth = {}

    def opened(self):
        playing = original(self)
        truth[id(playing.session)] = playing.truth
        return playing

    def answered(segmenter, session, annotation, **_) -> RoundOutcome:
        if annotation.is_empty:
            segmenter.record_empty_round(session, annotation.frame)
        else:
            segmenter.annotate(session, annotation)
        return RoundOutcome(answer(truth[id(session)]), session.scores, None, 0.01)

    monkeypatch.setattr(module._Player, "_open_sample", opened)
    monkeypatch.setattr(module, "run_round", answered)


def test_a_perfect_predictor_scores_one_and_the_robot_has_nothing_to_correct(data, tmp_path, monkeypatch) -> None:
    oracle(monkeypatch, lambda truth: truth.copy())
    record = play(settings(data, tmp_path, guidance=("wo_RS",)))
    for sample in record.variants[0].samples:
        assert (sample.object_means("J") == 1).all() and (sample.object_means("F") == 1).all()
        assert [r.empty for r in sample.rounds] == [False, True, True]
    assert record.variants[0].timed.at_threshold == pytest.approx(1.0)


def test_an_empty_predictor_scores_zero_where_there_are_objects(data, tmp_path, monkeypatch) -> None:
    oracle(monkeypatch, np.zeros_like)
    record = play(settings(data, tmp_path, guidance=("wo_RS",)))
    for sample in record.variants[0].samples:
        assert (sample.object_means("J") == 0).all() and (sample.object_means("F") == 0).all()


def test_a_time_limit_that_strikes_is_loud(data, tmp_path, caplog) -> None:
    record = play(settings(data, tmp_path, guidance=("wo_RS",), time_limit=1e-6))
    assert record.notes and "time limit" in record.notes[0]
    assert "TIME LIMIT" in caplog.text
    for sample in record.variants[0].samples:
        assert sample.rounds[-1].late and "time limit" in sample.note
        assert (sample.object_means("J", 3) == 0).all()  # nothing was in time, so nothing counts


def test_the_robot_makes_first_scribbles_where_asked(data, tmp_path) -> None:
    record = play(settings(data, tmp_path, guidance=("wo_RS",), scribbles="robot", rounds=1))
    (alpha, beta) = record.variants[0].samples
    assert (alpha.sequence, beta.sequence) == ("alpha", "beta")
    assert alpha.rounds[0].annotated_frame == 3  # the middle one of six
    assert not (data / "Scribbles" / "alpha" / "003.json").exists()


def test_a_damaged_record_is_named(data, tmp_path) -> None:
    config = settings(data, tmp_path, guidance=("wo_RS",), rounds=1)
    play(config)
    path = sample_path(tmp_path / "davis" / "run", Variant("wo_RS"), "beta")
    assert load_sample(path).finished
    path.write_bytes(path.read_bytes()[:80])
    with pytest.raises(UserError, match="damaged"):
        play(config)


def test_the_segmenter_of_the_caller_is_used(data, tmp_path) -> None:
    segmenter = Segmenter(ColourNetwork())
    config = settings(data, tmp_path, guidance=("wo_RS",), rounds=1, davis_sequences=("beta",))
    record = evaluate(config, segmenter=segmenter, checkpoint=CHECKPOINT)
    assert [s.sequence for s in record.variants[0].samples] == ["beta"] and segmenter.network.encoded == 6


def test_scribbles_that_the_robot_drew_are_told_of(data: Path, tmp_path: Path, caplog, capsys) -> None:
    root = shutil.copytree(data, tmp_path / "data")
    shutil.rmtree(root / "Scribbles" / "beta")
    record = play(settings(root, tmp_path, guidance=("wo_RS",), rounds=1))
    note = "First-round scribbles of 1 of 2 sequences were drawn by the robot"
    assert note in caplog.text
    assert record.notes == (f"{note}.",)
    summary = json.loads((tmp_path / "davis" / "run" / "summary.json").read_text())
    assert summary["notes"] == [f"{note}."] and "the robot drew" in summary["differs_from_published"][0]
    assert note in (tmp_path / "davis" / "run" / "report.html").read_text()
    with pytest.raises(UserError, match=r"let the robot draw them \(--scribbles auto or robot\)"):
        play(settings(root, tmp_path / "files", scribbles="files"))


def test_a_person_s_scribbles_are_no_note(straight: Path) -> None:
    summary = json.loads((straight / "summary.json").read_text())
    assert summary["notes"] == [] and summary["differs_from_published"] == []
