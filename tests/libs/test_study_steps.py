"""What a step of the propagation keeps: figures of a video whose answer is known, and the command."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from dataset_torch.frames import ArrayFrames
from libs.segmenter import Segmenter, SegmenterOptions
from libs.studies import steps
from libs.studies.data import StudyVideo
from tests.fakes import ColourNetwork, squares_video

GOLDEN = Path(__file__).parents[1] / "data" / "golden" / "e2e" / "DAVIS"


def still_video(num_frames: int) -> StudyVideo:
    frames, masks = squares_video(num_frames=2, height=64, width=96, side=24)
    pictures = np.repeat(frames.read(0)[None], num_frames, 0)
    return StudyVideo("toy", "still", ArrayFrames(pictures), np.repeat(masks[:1], num_frames, 0), (1, 2))


def test_on_a_still_video_copy_and_flow_are_right_and_the_rest_is_measured() -> None:
    network = ColourNetwork()
    segmenter = Segmenter(network, options=SegmenterOptions(training=True))
    figures = steps.video_figures(segmenter, still_video(6), 2)
    assert figures["copied"] == 1 and figures["flow"] > 0.98
    assert set(figures) == {"given", "1", "2", "4", "copied", "flow"}  # no parts, and the video ends before 8
    assert all(0 <= value <= 1 for value in figures.values())
    assert figures["1"] > 0.9  # colours tell the squares


def test_a_frame_without_its_objects_is_no_place_to_start() -> None:
    video = still_video(3)
    empty = StudyVideo("toy", "none", video.frames, np.zeros_like(video.truth), (1, 2))
    assert steps.video_figures(Segmenter(ColourNetwork(), options=SegmenterOptions(training=True)), empty, 1) == {}


def test_the_command_writes_its_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "steps.csv"
    assert steps.main(["--davis-root", str(GOLDEN), "--places", "1", "--out", str(out)]) == 0
    rows = list(csv.DictReader(out.open()))
    assert rows[-1]["video"] == "mean" and len(rows) > 1
    assert 0.3 < float(rows[-1]["given"]) <= 1 and {"transferred", "matched", "warped", "1", "flow"} <= set(rows[0])
    assert "mean: given" in capsys.readouterr().out
    assert steps.main(["--davis-root", str(GOLDEN), "--places", "0"]) == 2
    assert steps.main(["--davis-root", str(tmp_path / "nowhere")]) == 2
    (tmp_path / "file").touch()
    assert steps.main(["--davis-root", str(GOLDEN), "--out", str(tmp_path / "file" / "steps.csv")]) == 2
