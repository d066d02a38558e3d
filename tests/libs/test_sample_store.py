"""Samples in progress: at whatever moment a run is killed, the record names a session that is there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import libs.sample_store as module
from dataset_torch.errors import UserError
from dataset_torch.masks import read_mask
from libs.interactions import Click, FrameAnnotation
from libs.progress import RunProgress
from libs.reports.records import RoundRecord, SampleRecord, Variant
from libs.runs import Shard
from libs.sample_store import SampleStore
from libs.segmenter import Segmenter
from libs.session import Session
from tests.fakes import ColourNetwork, squares_video


class Killed(BaseException):
    """Stands for a kill: nothing may catch it."""


@pytest.fixture
def segmenter() -> Segmenter:
    return Segmenter(ColourNetwork(), device="cpu")


def round_record(number: int) -> RoundRecord:
    return RoundRecord(number, number, np.full((6, 2), 0.5), np.full((6, 2), 0.7), np.full(6, 0.5), seconds=1.5)


def play(segmenter: Segmenter, session: Session, frame: int) -> None:
    segmenter.annotate(session, FrameAnnotation(frame, clicks=(Click(1, 0.15, 0.2), Click(2, 0.2, 0.5))))
    for _ in segmenter.propagate(session):
        pass


def test_a_sample_goes_on_from_its_last_whole_round(
    segmenter: Segmenter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames, _ = squares_video()
    store = SampleStore(tmp_path, Variant("RS4"))
    assert store.load("squares") is None
    session = segmenter.open(frames, object_ids=[1, 2])
    play(segmenter, session, 0)
    first = SampleRecord("squares", (1, 2), 6, 40, 56).with_round(round_record(1))
    store.save(first, session)
    after_first = session.masks()
    play(segmenter, session, 3)

    # Killed between the session of round 2 and its record: round 1 stands.
    monkeypatch.setattr(module, "save_sample", lambda *_: (_ for _ in ()).throw(Killed))
    with pytest.raises(Killed):
        store.save(first.with_round(round_record(2)), session)
    monkeypatch.undo()
    record = store.load("squares")
    assert record is not None and len(record.rounds) == 1
    resumed = store.resume(segmenter, record, frames)
    assert (resumed.masks() == after_first).all()
    assert len(resumed.rounds) == 1

    play(segmenter, resumed, 3)
    store.save(record.with_round(round_record(2)), resumed)
    assert [p.name for p in (tmp_path / "J_AND_F-RS4" / "sessions").iterdir()] == ["squares-001-round2.pt"]
    assert (store.resume(segmenter, store.load("squares"), frames).masks() == session.masks()).all()
    store.save(replace(record.with_round(round_record(2)), finished=True), resumed)
    assert not list((tmp_path / "J_AND_F-RS4" / "sessions").iterdir())


def test_a_name_with_brackets_keeps_one_session_only(segmenter: Segmenter, tmp_path: Path) -> None:
    store = SampleStore(tmp_path, Variant("wo_RS", metric="J"))
    frames, _ = squares_video()
    session = segmenter.open(frames, object_ids=(1, 2))
    record = SampleRecord("clip [1]", (1, 2), 6, frames.height, frames.width)
    for number in (1, 2, 3):
        play(segmenter, session, number)
        record = record.with_round(round_record(number))
        store.save(record, session)
    assert [p.name for p in tmp_path.rglob("*.pt")] == [f"{record.name}-round3.pt"]


def test_masks_are_written_as_palette_images(tmp_path: Path) -> None:
    _, masks = squares_video()
    store = SampleStore(tmp_path, Variant("wo_RS", points=5))
    record = SampleRecord("squares", (1, 2), 6, 40, 56, 2).with_round(round_record(1))
    for _ in range(2):  # a second time replaces the first
        folder = store.save_masks(record, masks, [f"{i:05d}" for i in range(6)])
    assert folder == tmp_path / "points05-wo_RS" / "masks" / "squares-002" / "round1"
    assert sorted(p.name for p in folder.parent.iterdir()) == ["round1"]
    assert (read_mask(folder / "00004.png") == masks[4]).all()


def test_a_folder_that_cannot_be_written_is_told_in_words(tmp_path: Path) -> None:
    (tmp_path / "J_AND_F-RS4").write_text("a file where a folder must be")
    store = SampleStore(tmp_path, Variant("RS4"))
    record = SampleRecord("squares", (1, 2), 6, 40, 56).with_round(round_record(1))
    with pytest.raises(UserError, match="cannot write masks"):
        store.save_masks(record, np.zeros((1, 4, 4), np.uint8), ["00000"])
    with pytest.raises(UserError, match="cannot write"):
        store.save(replace(record, finished=True), None)


def test_progress_is_logged_round_by_round(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    variant = Variant("RS4")
    sample = SampleRecord("squares", (1, 2), 6, 40, 56).with_round(round_record(1))
    with pytest.raises(Killed), RunProgress(1, log=tmp_path / "log.txt", shard=Shard(1, 2)) as progress:
        progress.begin(variant, "squares", 1, 2)
        progress.frame(1, 6)
        progress.round_done(variant, sample, sample.rounds[0])
        progress.round_done(variant, sample, replace(round_record(2), empty=True, late=True))
        progress.sample_done(variant, sample)
        raise Killed
    lines = (tmp_path / "log-1.txt").read_text().splitlines()
    assert "J_AND_F-RS4  squares-001  round 1  frame 1  J&F 0.6000  1.50 s" in lines[0]
    assert "round 2  nothing to correct" in lines[1] and "LATE" in lines[1]
    assert "stopped: Killed" in lines[2]
    assert "squares-001: J&F 0.600" in capsys.readouterr().err
