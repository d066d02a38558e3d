"""Comparing tables: pairing, the bootstrap, and the command."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from dataset_torch.errors import UserError
from libs import compare as c
from libs import published
from libs.reports.summary import ObjectRow, format_object_csv


def rows(values: dict[tuple[str, int, int], tuple[float, ...]]) -> tuple[ObjectRow, ...]:
    return tuple(ObjectRow(*key, value) for key, value in values.items())


A = c.Table(
    "a", "J", rows({("x", 1, 1): (0.5, 0.8), ("x", 1, 2): (0.7, 0.9), ("y", 1, 1): (0.2, 0.4), ("z", 1, 1): (1, 1)})
)
B = c.Table(
    "b", "J", rows({("y", 1, 1): (0.3, 0.1), ("x", 1, 1): (0.4, 0.8), ("x", 1, 2): (0.4, 0.6), ("w", 1, 1): (0, 0)})
)


def write_setting(folder: Path, table: c.Table, *, scribble_sets: bool = True) -> None:
    """A setting's folder as a run leaves it, the same figures for every metric."""
    folder.mkdir(parents=True)
    for metric in ("J", "F", "J_AND_F"):
        (folder / f"objects_{metric}.csv").write_text(format_object_csv(table.rows, scribble_sets=scribble_sets))


def test_tables_are_paired_by_object() -> None:
    found = c.compare(A, B)
    assert found.keys == (("x", 1, 1), ("x", 1, 2), ("y", 1, 1))
    assert found.difference.mean == pytest.approx([(0.1 + 0.3 - 0.1) / 3, (0.0 + 0.3 + 0.3) / 3])
    assert (found.only_first, found.only_second) == (1, 1)
    assert found.groups == [("x", 1), ("x", 1), ("y", 1)]
    # R-AUC of two rounds is their mean.
    assert found.r_auc_difference.mean == pytest.approx([(0.05 + 0.3 + 0.1) / 3])
    (first, a, b), (second, *_) = found.sequences()
    assert (first, second) == ("x", "y")  # x: +.15, y: +.3
    assert a == pytest.approx([0.6, 0.85])
    assert b == pytest.approx([0.4, 0.7])


def test_the_shorter_table_decides_the_rounds() -> None:
    short = c.Table("s", None, rows({("x", 1, 1): (0.5,)}))
    assert c.compare(A, short).a.shape == (1, 1)


def test_tables_that_cannot_be_compared_are_refused() -> None:
    with pytest.raises(UserError, match="no object in common"):
        c.compare(A, c.Table("other", "J", rows({("q", 1, 1): (1.0, 1.0)})))
    with pytest.raises(UserError, match="a holds J, f holds J&F"):
        c.compare(A, c.Table("f", "J_AND_F", B.rows))


def test_the_bootstrap_of_two_groups_by_hand() -> None:
    # Groups of one line with differences 0 and 1: a draw of two has the mean 0, .5 or 1, with chances 1/4, 1/2, 1/4.
    interval = c.bootstrap(np.array([[0.0], [1.0]]), ["g", "h"])
    assert (interval.mean[0], interval.low[0], interval.high[0]) == (0.5, 0, 1)
    half = c.bootstrap(np.array([[0.0], [1.0]]), ["g", "h"], level=0.4)
    assert (half.low[0], half.high[0]) == (0.5, 0.5)


def test_lines_of_one_group_are_drawn_together() -> None:
    differences = np.array([[0.0], [1.0], [0.0], [1.0]])
    together = c.bootstrap(differences, ["g", "g", "h", "h"])  # both groups have the mean .5
    assert (together.low[0], together.high[0]) == (0.5, 0.5)
    apart = c.bootstrap(differences, [1, 2, 3, 4])
    assert apart.low[0] < 0.5 < apart.high[0]


def test_the_bootstrap_covers_the_truth_about_as_often_as_it_says() -> None:
    chance = np.random.default_rng(1)
    inside = 0
    for _ in range(200):
        interval = c.bootstrap(chance.normal(0.3, 1, size=(40, 1)), range(40), resamples=500)
        inside += interval.low[0] <= 0.3 <= interval.high[0]
    assert 0.88 < inside / 200 < 0.99


def test_the_bootstrap_is_the_same_every_time() -> None:
    one, two = c.compare(A, B).difference, c.compare(A, B).difference
    assert (one.low == two.low).all() and (one.high == two.high).all()


def test_published_runs_beside_each_other(capsys: pytest.CaptureFixture) -> None:
    assert c.main(["published:davis_J_RS4", "published:davis_J_woRS"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    ours = published.table("davis_J_RS4").timed().values[8]
    theirs = published.table("davis_J_woRS").timed().values[8]
    difference = next(line for line in lines if line[:3] == ["A", "-", "B"])
    assert float(difference[10]) == pytest.approx(ours - theirs, abs=5e-5)
    assert "183 lines of 61 objects" in " ".join(" ".join(line) for line in lines)


def test_a_run_offers_guidance_against_none_and_against_the_published(tmp_path: Path) -> None:
    table = c.load_table("published:davis_J_RS4")
    other = c.load_table("published:davis_J_woRS")
    write_setting(tmp_path / "run" / "J-RS4", table)
    write_setting(tmp_path / "run" / "J-wo_RS", other)
    write_setting(tmp_path / "run" / "J-RS1", other)
    pairs = c.find_pairs([str(tmp_path / "run")], metric=None)
    assert [(a.name, b.name) for a, b in pairs] == [
        ("run/J-RS1", "run/J-wo_RS"),
        ("run/J-RS4", "run/J-wo_RS"),
        ("run/J-RS4", "published:davis_J_RS4"),
        ("run/J-wo_RS", "published:davis_J_woRS"),
    ]
    assert (c.compare(*pairs[2]).difference.mean == 0).all()
    assert pairs[0][0].metric == "J_AND_F" and pairs[2][0].metric == "J"


def test_the_published_form_is_j_on_davis_and_jf_on_youtube(tmp_path: Path) -> None:
    (tmp_path / "summary_in_csv.csv").write_text("sequence,obj_idx,scr_idx,round-1\na,1,1,.5\n")
    assert c.load_table(str(tmp_path / "summary_in_csv.csv")).metric == "J"
    (tmp_path / "summary_in_csv.csv").write_text("sequence,obj_idx,round-1\na,1,.5\n")
    assert c.load_table(str(tmp_path / "summary_in_csv.csv")).metric == "J_AND_F"


def test_a_run_on_other_data_is_not_put_beside_the_published(tmp_path: Path) -> None:
    write_setting(tmp_path / "run" / "points05-wo_RS", A, scribble_sets=False)
    with pytest.raises(UserError, match="holds only points05-wo_RS. Run --guidance wo_RS,RS4, or name a second run.$"):
        c.find_pairs([str(tmp_path / "run")], metric=None)
    with pytest.raises(UserError, match="nosuch does not exist"):
        c.find_pairs([str(tmp_path / "run"), str(tmp_path / "nosuch")], metric=None)
    table = c.load_table("published:youtube_woRS_points05")
    write_setting(tmp_path / "real" / "points05-wo_RS", table, scribble_sets=False)
    ((ours, theirs),) = c.find_pairs([str(tmp_path / "real")], metric=None)
    assert (ours.name, theirs.name) == ("real/points05-wo_RS", "published:youtube_woRS_points05")


def test_two_runs_are_compared_in_the_settings_that_both_have(tmp_path: Path) -> None:
    for run in ("one", "two"):
        write_setting(tmp_path / run / "J-RS4", A if run == "one" else B)
    write_setting(tmp_path / "two" / "J-wo_RS", B)
    ((first, second),) = c.find_pairs([str(tmp_path / "one"), str(tmp_path / "two")], metric="F")
    assert (first.name, second.name, first.metric) == ("one/J-RS4", "two/J-RS4", "F")


def test_the_page_of_a_comparison(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    for name, table in (("a", A), ("b", B)):
        write_setting(tmp_path / "run" / name, table)
    names = [str(tmp_path / "run" / "a"), str(tmp_path / "run" / "b" / "objects_J_AND_F.csv")]
    assert c.main([*names, "--out", str(tmp_path / "out"), "--resample", "sequences"]) == 0
    assert "left out: 1 line that only A has, 1 that only B has" in capsys.readouterr().out
    (summary,) = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert summary["lines"] == 3
    assert summary["difference"]["mean"] == pytest.approx([0.1, 0.2])
    text = (tmp_path / "out" / "comparison.html").read_text()
    for picture in (tmp_path / "out").glob("*.png"):
        assert picture.name in text
    (table,) = (tmp_path / "out").glob("*.csv")
    name, *values = table.read_text().splitlines()[1].split(",")
    assert name == "x"
    assert [float(v) for v in values] == pytest.approx([0.6, 0.85, 0.4, 0.7, 0.2, 0.15])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.csv", "published:davis_J_RS4"], "nowhere.csv does not exist"),
        (["published:davis_J"], "is no run's folder"),
        (["published:davis_J", "published:davis_J_RS4"], "no published table 'davis_J'"),
        (["published:davis_J_RS4"] * 3, "one or two tables"),
        (["published:davis_J_RS4", "published:youtube_woRS_points05"], "cannot be compared"),
        (["published:davis_J_RS4", "published:davis_J_woRS", "--metric", "F"], "holds J, and --metric F was asked"),
    ],
)
def test_the_command_says_what_is_wrong(arguments: list[str], message: str, capsys: pytest.CaptureFixture) -> None:
    assert c.main(arguments) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("summary", "reason"),
    [
        ({"differs_from_published": ["frames may be annotated again"]}, "frames may be annotated again"),
        # Summaries of earlier versions tell by their settings.
        ({"benchmark": "youtube", "options": {"youtube_points": None}}, "points are not the published"),
        ({"benchmark": "youtube", "options": {"youtube_points": "p", "youtube_absent": "skip"}}, "do not count"),
        ({"benchmark": "davis", "options": {"scribbles": "robot"}}, "the robot drew"),
    ],
)
def test_a_run_that_was_played_otherwise_is_not_put_beside_the_published(
    tmp_path: Path, capsys: pytest.CaptureFixture, summary: dict, reason: str
) -> None:
    davis = summary.get("benchmark") == "davis"
    label, name = ("J-RS4", "davis_J_RS4") if davis else ("points05-wo_RS", "youtube_woRS_points05")
    run = tmp_path / "run"
    write_setting(run / label, c.load_table(f"published:{name}"), scribble_sets=davis)
    (run / "summary.json").write_text(json.dumps(summary))
    with pytest.raises(UserError, match=f"not put beside the published tables: .*{reason}"):
        c.find_pairs([str(run)], metric=None)
    for table in (run / label, run / label / "objects_J.csv"):
        metric = [] if davis else ["--metric", "J"]
        assert c.main([str(table), f"published:{name}", *metric]) == 0  # when asked, and then it says so
        told = capsys.readouterr().out
        assert "was not played as the published run was" in told and reason in told
    other = label.replace("wo_RS", "RS4") if not davis else "J-wo_RS"
    write_setting(run / other, c.load_table(f"published:{name}"), scribble_sets=davis)
    assert [t.is_published for pair in c.find_pairs([str(run)], metric=None) for t in pair] == [False, False]
    assert c.main([str(run)]) == 0 and "note: not put beside" in capsys.readouterr().out


def test_published_youtube_tables_may_hold_j_or_jf(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    table = c.load_table("published:youtube_woRS_points05")
    write_setting(tmp_path / "run" / "points05-wo_RS", table, scribble_sets=False)
    for metric, title in (("J", "J, 379 lines"), ("J_AND_F", "J&F, 379 lines")):
        assert c.main([str(tmp_path / "run"), "--metric", metric]) == 0
        told = capsys.readouterr().out
        assert title in told and "whether it holds J&F or J cannot be told" in told
    with pytest.raises(UserError, match="holds J&F, and --metric F"):
        c.load_table("published:youtube_woRS_points05", metric="F")
    with pytest.raises(SystemExit):
        c.main(["--help"])
    assert "sequence,obj_idx,scr_idx,round-1" in capsys.readouterr().out


def test_groups_of_unequal_size_weigh_by_their_lines() -> None:
    # One group of three lines with difference 0, one of a single line with 1: a draw of both has the mean 1/4.
    interval = c.bootstrap(np.array([[0.0], [0.0], [0.0], [1.0]]), ["g", "g", "g", "h"], level=0.4)
    assert (interval.mean[0], interval.low[0], interval.high[0]) == (0.25, 0.25, 0.25)
    ends = c.bootstrap(np.array([[0.0], [0.0], [0.0], [1.0]]), ["g", "g", "g", "h"])
    assert (ends.low[0], ends.high[0]) == (0, 1)
