"""What better annotated frames would be worth: figures of a video whose answer is known, and the command."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from libs.segmenter import Segmenter, SegmenterOptions
from libs.studies import annotated
from libs.studies.data import StudyVideo
from libs.studies.play import RoundResult
from tests.fakes import ColourNetwork, squares_video

GOLDEN = Path(__file__).parents[1] / "data" / "golden" / "e2e" / "DAVIS"


def round_of(frame: int, quality: list[float]) -> RoundResult:
    values = np.array(quality)
    return RoundResult(frame, False, values, values, values, 0.0)


def test_frames_are_sorted_by_their_distance_from_the_nearest_annotated_one() -> None:
    last = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
    means = annotated.by_distance([round_of(1, [0.0] * 6), round_of(2, last)])
    assert means[:4] == pytest.approx([0.25, 0.25, 0.55, np.nan], nan_ok=True) and np.isnan(means[4])


def test_true_masks_make_their_frames_right_and_strokes_need_not() -> None:
    frames, masks = squares_video(num_frames=6, height=80, width=120, side=30)
    video = StudyVideo("toy", "squares", frames, masks, (1, 2))
    segmenter = Segmenter(ColourNetwork(), options=SegmenterOptions())
    strokes, true = (annotated.video_figures(segmenter, video, 2, true_masks=t) for t in (False, True))
    assert len(true) == 2 + len(annotated.DISTANCES)
    assert true[2] >= strokes[2] and true[2] > 0.98  # of the annotated frames


def test_the_command_prints_both_and_refuses_wrong_settings(capsys: pytest.CaptureFixture[str]) -> None:
    assert annotated.main(["--davis-root", str(GOLDEN), "--rounds", "1", "--max-frames", "3"]) == 0
    out = capsys.readouterr().out
    assert "mean, strokes: 0." in out and "mean, true masks: 0." in out and "from an annotated one 0: 0." in out
    assert annotated.main(["--davis-root", str(GOLDEN), "--rounds", "0"]) == 2
    assert "--rounds must be at least 1" in capsys.readouterr().err
