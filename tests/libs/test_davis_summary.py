"""Figures of an evaluation, by hand."""

from __future__ import annotations

import pandas as pd
import pytest

from libs.davis_progress import PlayedRound
from libs.davis_summary import clip_curve, object_table, report_rows


def framework_summary(times, values):
    return {
        "auc": 0.123,
        "metric_at_threshold": {"threshold": 60, "J": 0.456},
        "curve": {"time": times, "J": values},
    }


def test_a_curve_within_the_horizon_stays():
    summary = framework_summary([0.0, 10.0, 20.0, 100.0], [0.0, 0.5, 0.7, 0.7])
    assert clip_curve(summary, "J") == (summary, 100.0, False)


def test_a_curve_beyond_the_horizon_is_cut_there():
    # 100 s horizon; rounds at 80 s and 160 s: at 100 s the line from (80, .4) to (160, .8) has reached .5
    clipped, horizon, too_slow = clip_curve(framework_summary([0, 80, 160, 100], [0, 0.4, 0.8, 0.8]), "J")
    assert (horizon, too_slow) == (100, True)
    assert clipped["auc"] == pytest.approx((80 * 0.2 + 20 * 0.45) / 100)
    assert clipped["metric_at_threshold"] == {"threshold": 60, "J": pytest.approx(0.3)}
    assert clipped["curve"] == {"time": [0, 80, 160], "J": [0, 0.4, 0.8]}


def test_the_value_after_a_minute_may_lie_beyond_the_horizon():
    # 30 s horizon; rounds at 20 s and 100 s: after 60 s the line from (20, .4) to (100, .8) has reached .6
    clipped, _, too_slow = clip_curve(framework_summary([0, 20, 100, 30], [0, 0.4, 0.8, 0.8]), "J")
    assert too_slow
    assert clipped["metric_at_threshold"] == {"threshold": 60, "J": pytest.approx(0.6)}
    assert clipped["auc"] == pytest.approx((20 * 0.2 + 10 * 0.425) / 30)


def test_the_object_table_has_every_object_and_carries_on():
    first = PlayedRound(1.0, [[0.2, 1.0], [0.4, 0.0]], [[0.6, 1.0], [0.8, 1.0]], 0)
    second = PlayedRound(1.0, [[0.6, 1.0], [0.8, 0.5]], [[1.0, 1.0], [1.0, 1.0]], 0)
    report = pd.concat([report_rows("cat", 2, 1, first, (3, 5)), report_rows("cat", 2, 2, second, (3, 5))])
    objects = [("cat", 2, 3), ("cat", 2, 5), ("ant", 1, 1)]
    table = object_table(report, "J_AND_F", 3, objects)
    assert table[["sequence", "obj_idx", "scr_idx"]].to_numpy().tolist() == [
        ["ant", 1, 1],
        ["cat", 3, 2],
        ["cat", 5, 2],
    ]
    figures = table[["round-1", "round-2", "round-3"]].to_numpy()
    assert figures[0].tolist() == [0, 0, 0]  # never evaluated
    assert figures[1].tolist() == pytest.approx([0.5, 0.85, 0.85])
    assert figures[2].tolist() == pytest.approx([0.75, 0.875, 0.875])
