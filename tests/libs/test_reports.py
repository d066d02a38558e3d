"""Records on disk, tables, summaries and the report page, against hand-computed and published figures."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dataset_torch.errors import UserError
from dataset_torch.frames import ArrayFrames
from libs import published
from libs.interactions import Click, FrameAnnotation, Scribble
from libs.metrics import rank_correlation
from libs.reports import drawing, page, pictures, plots
from libs.reports.records import (
    CheckpointInfo,
    RoundRecord,
    RunRecord,
    SampleRecord,
    TimedSummary,
    Variant,
    VariantRecord,
)
from libs.reports.report import report_page, write_report
from libs.reports.storage import load_sample, load_samples, sample_path, save_sample
from libs.reports.summary import (
    ObjectRow,
    format_object_csv,
    mean_over_points,
    object_rows,
    read_object_csv,
    round_means,
    run_summary,
    variant_means,
    variant_timings,
)
from libs.reports.tables import format_table, metric_lines, print_table

NAN = float("nan")
RS4, WO = Variant("RS4"), Variant("wo_RS")


def round_record(number: int, jaccard: list, *, frame: int = 0, **changes: object) -> RoundRecord:
    """F x O values of J; F is 0.1 lower; scores equal J's mean over objects."""
    j = np.array(jaccard, dtype=float)
    plain = RoundRecord(
        number,
        frame,
        j,
        j - 0.1,
        np.clip(j.mean(axis=1), 0.01, 0.99),
        (1, 0),
        2.0,
        annotation=FrameAnnotation(
            frame, (Scribble(1, np.array([[0.1, 0.2], [0.3, 1 / 3]])), Scribble(0, np.array([[0.9, 0.9]])))
        ),
    )
    return replace(plain, **changes)


def sample(sequence: str = "ants", scribble_set: int = 1, *, shift: float = 0.0) -> SampleRecord:
    """Two frames, two objects, two rounds: J of the objects .4, .6, then .6, .9 (plus `shift`)."""
    rounds = (
        round_record(1, np.array([[0.3, 0.5], [0.5, 0.7]]) + shift),
        round_record(2, np.array([[0.6, 0.8], [0.6, 1.0]]) + shift, frame=1),
    )
    return SampleRecord(sequence, (1, 2), 2, 40, 60, scribble_set, ("00000", "00005"), rounds, True)


def run(*variants: VariantRecord, benchmark: str = "davis", **changes: object) -> RunRecord:
    plain = RunRecord(
        benchmark,
        "a <run>",
        variants,
        2,
        "python IVOS_main_DAVIS.py --rounds 2",
        "toy data (1 sequence)",
        CheckpointInfo("toy.pth", "ab" * 32, "toy"),
        options={"rounds": 2},
        versions={"python": "3.12"},
        seconds=3723.0,
    )
    return replace(plain, **changes)


# ---- records on disk ---------------------------------------------------------------------------------------------


def test_a_sample_comes_back_from_disk_to_the_bit(tmp_path: Path) -> None:
    odd = round_record(3, [[1 / 3, NAN], [0.1 + 0.2, 0.7]], empty=True, candidates=None, picture="x/y.jpg")
    clicks = FrameAnnotation(1, clicks=(Click(2, 1 / 7, 0.5),))
    before = sample().with_round(odd).with_round(round_record(4, [[1, 1], [1, 1]], annotation=clicks, late=True))
    after = load_sample(save_sample(tmp_path, RS4, before))
    assert after is not None
    assert replace(after, rounds=()) == replace(before, rounds=())
    for a, b in zip(after.rounds, before.rounds, strict=True):
        for name in ("jaccard", "f_measure", "scores"):
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
        same = ("round", "annotated_frame", "candidates", "seconds", "empty", "late", "picture", "strokes")
        assert [getattr(a, n) for n in same] == [getattr(b, n) for n in same]
    assert after.rounds[3].annotation == clicks
    np.testing.assert_array_equal(
        after.rounds[0].annotation.scribbles[0].points, before.rounds[0].annotation.scribbles[0].points
    )


def test_samples_are_sorted_and_unfinished_ones_can_be_left_out(tmp_path: Path) -> None:
    for s in (sample("bees"), sample("ants", 2), replace(sample("ants", 1), finished=False)):
        save_sample(tmp_path, RS4, s)
    assert [s.name for s in load_samples(tmp_path, RS4)] == ["ants-001", "ants-002", "bees-001"]
    assert [s.name for s in load_samples(tmp_path, RS4, finished_only=True)] == ["ants-002", "bees-001"]
    assert load_samples(tmp_path, WO) == ()
    assert load_sample(tmp_path / "none.npz") is None


@pytest.mark.parametrize("damage", [b"", b"no zip at all", b"PK\x03\x04 half"])
def test_a_damaged_sample_is_named(tmp_path: Path, damage: bytes) -> None:
    path = sample_path(tmp_path, RS4, "ants")
    path.parent.mkdir(parents=True)
    path.write_bytes(damage)
    with pytest.raises(UserError, match=r"ants-001\.npz is damaged"):
        load_sample(path)


def test_a_sample_of_another_format_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, header=np.array(json.dumps({"version": 99})))
    with pytest.raises(UserError, match="record format 99"):
        load_sample(path)


# ---- figures -----------------------------------------------------------------------------------------------------


def test_means_over_frames_then_objects() -> None:
    assert sample().object_means("J") == pytest.approx(np.array([[0.4, 0.6], [0.6, 0.9]]))
    assert sample().object_means("J_AND_F") == pytest.approx(np.array([[0.35, 0.55], [0.55, 0.85]]))
    assert sample().object_means("F", 4)[0] == pytest.approx([0.3, 0.5, 0.5, 0.5])  # rounds not played: the last one's
    record = VariantRecord(RS4, (sample(), sample("bees", shift=0.04)))
    assert variant_means(record, 2)["J"] == pytest.approx([0.52, 0.77])


def test_values_that_do_not_count_are_left_out() -> None:
    record = round_record(1, [[NAN, 0.5], [NAN, 1.0], [0.25, NAN]])
    assert record.object_means("J").tolist() == [0.25, 0.75]
    assert record.frame_means("J").tolist() == [0.5, 1.0, 0.25]
    none = round_record(1, [[NAN], [NAN]])
    assert none.object_means("J").tolist() == [1.0]
    assert np.isnan(none.frame_means("J")).all()


def test_the_published_tables_give_the_published_summaries() -> None:
    for metric in ("J", "JF"):
        for guidance in ("RS4", "woRS"):
            timed = published.table(f"davis_{metric}_{guidance}").timed()
            assert timed is not None
            seconds, values = np.array(timed.seconds), np.array(timed.values)
            area = np.sum((values[1:] + values[:-1]) / 2 * np.diff(seconds)) / seconds[-1]
            assert area == pytest.approx(timed.auc, abs=1e-6)
            at_threshold = np.interp(timed.threshold, seconds, values)
            assert at_threshold == pytest.approx(timed.at_threshold, abs=1e-6)
    # The per-object tables hold J, so only the runs whose summary is J can be checked against them.
    for guidance in ("RS4", "woRS"):
        table = published.table(f"davis_J_{guidance}")
        assert len(table.rows()) == 183
        assert round_means(table.rows()) == pytest.approx(table.timed().values[1:9], abs=1e-6)


@pytest.mark.parametrize(
    ("points", "means"),
    [
        (5, [0.5426, 0.6761, 0.7682, 0.8085]),
        (10, [0.6730, 0.7538, 0.8028, 0.8284]),
        (20, [0.7283, 0.7902, 0.8242, 0.8436]),
        (50, [0.7445, 0.8016, 0.8306, 0.8485]),
    ],
)
def test_the_published_youtube_tables_average_to_the_published_figures(points: int, means: list[float]) -> None:
    rows = published.table(f"youtube_woRS_points{points:02d}").rows()
    assert len(rows) == 379
    assert round_means(rows) == pytest.approx(means, abs=5.1e-5)  # published with four digits


def test_published_tables_go_through_our_format_unchanged(tmp_path: Path) -> None:
    for name in ("davis_J_RS4", "youtube_woRS_points05"):
        table = published.table(name)
        text = format_object_csv(table.rows(), scribble_sets=table.benchmark == "davis")
        assert text == (published.FOLDER / f"{name}.csv").read_text()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "first line must be"),
        ("sequence,obj_idx,J\na,1,0.5\n", "first line must be"),
        ("sequence,obj_idx,round-1\na,one,0.5\n", "line 2: not a name, integers and numbers"),
        ("sequence,obj_idx,round-1,round-2\na,1,0.5\n", "line 2: 1 rounds, its first line names 2"),
    ],
)
def test_files_that_are_no_tables_are_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "table.csv"
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        read_object_csv(path)
    with pytest.raises(UserError, match="cannot be read"):
        read_object_csv(tmp_path / "none.csv")


def samples_of(table: published.PublishedTable) -> tuple[SampleRecord, ...]:
    """Samples of one frame whose J are the figures of a published table (its first two rounds)."""
    found: dict[tuple[str, int], list[ObjectRow]] = {}
    for row in table.rows():
        found.setdefault((row.sequence, row.scribble_set), []).append(row)
    return tuple(
        SampleRecord(
            name,
            tuple(r.object_id for r in rows),
            1,
            4,
            4,
            number,
            rounds=tuple(round_record(k, [[r.values[k - 1] for r in rows]]) for k in (1, 2)),
        )
        for (name, number), rows in found.items()
    )


def test_a_published_table_stands_beside_the_same_objects_only() -> None:
    variant = Variant("wo_RS", points=5)
    samples = samples_of(published.table("youtube_woRS_points05"))
    record = run(VariantRecord(variant, samples), benchmark="youtube")
    lines = {line.name: line for line in metric_lines(record, record.variants[0])}
    assert lines["J&F published"].values == pytest.approx([0.5426, 0.6761], abs=5e-5)
    assert lines["J"].values == pytest.approx(lines["J&F published"].values)  # these samples hold its very figures
    assert published.SOURCE in report_page(record)
    other = run(VariantRecord(variant, samples), benchmark="youtube", differs=("frames may be annotated again",))
    assert not any(line.published for line in metric_lines(other, other.variants[0]))
    assert "Nothing published is put beside these: frames may be annotated again." in report_page(other)
    assert len(plots.curve_figure(other).axes[0].lines) == len(plots.curve_figure(record).axes[0].lines) - 1
    assert run_summary(other)["differs_from_published"] == ["frames may be annotated again"]
    part = run(VariantRecord(variant, samples[1:]), benchmark="youtube")
    assert not any(line.published for line in metric_lines(part, part.variants[0]))
    assert published.counterpart("davis", Variant("RS1")) is None
    with pytest.raises(UserError, match="no published table 'x'"):
        published.table("x")


def test_on_davis_the_published_curve_and_the_published_j_stand_beside_ours() -> None:
    samples = samples_of(published.table("davis_JF_RS4"))
    record = run(VariantRecord(Variant("RS4"), samples))
    assert (record.variants[0].num_objects, len(samples)) == (61, 90)
    lines = {line.name: line for line in metric_lines(record, record.variants[0])}
    assert lines["J"].values == pytest.approx(lines["J published"].values)
    assert lines["J&F published"].values == pytest.approx([0.7416, 0.8075], abs=5e-5)
    assert lines["J&F published"].r_auc == pytest.approx((0.7416 + 0.8075) / 2, abs=5e-5)
    assert lines["J&F published"].auc == pytest.approx(0.8561, abs=5e-5)
    assert lines["J&F published"].at_threshold == pytest.approx(0.8657, abs=5e-5)


def test_the_mean_over_the_point_counts() -> None:
    few = VariantRecord(Variant("wo_RS", points=5), (sample(),))
    many = VariantRecord(Variant("wo_RS", points=50), (sample(shift=0.1),))
    means = mean_over_points(run(few, many, benchmark="youtube"))
    assert means["wo_RS"]["J"] == pytest.approx([0.55, 0.8])
    assert mean_over_points(run(VariantRecord(RS4, (sample(),)))) == {}


def test_rank_correlation_and_hit_rate_by_hand() -> None:
    assert rank_correlation(np.array([1, 2, 3.0]), np.array([10, 20, 90.0])) == pytest.approx(1)
    assert rank_correlation(np.array([1, 2, 3.0]), np.array([3, 2, 1.0])) == pytest.approx(-1)
    # Ranks 1.5, 1.5, 3 and 1, 2, 3: covariance .5, deviations sqrt(.5) and sqrt(2/3) (divided by N).
    assert rank_correlation(np.array([5, 5, 9.0]), np.array([1, 2, 3.0])) == pytest.approx(0.5 / (1 / 3) ** 0.5)
    assert np.isnan(rank_correlation(np.ones(3), np.arange(3.0)))
    quality = np.linspace(0.1, 1, 10)[:, None]
    low_first = round_record(1, quality, scores=np.linspace(0.1, 0.9, 10))
    low_last = round_record(2, quality, scores=np.linspace(0.9, 0.1, 10))
    found = plots.reliability(VariantRecord(RS4, (replace(sample(), num_frames=10, rounds=(low_first, low_last)),)))
    assert found.correlation == pytest.approx(0)
    assert found.hit_rate == 0.5
    assert len(found.scores) == 20


# ---- tables and page ---------------------------------------------------------------------------------------------


def test_the_terminal_table(capsys: pytest.CaptureFixture) -> None:
    timed = TimedSummary(0.61, 60.0, 0.62, (0, 2, 4, 480), (0, 0.45, 0.7, 0.7))
    record = run(VariantRecord(RS4, (sample(),), timed), notes=("the time limit struck",))
    print_table(record, "somewhere/report.html")
    text = capsys.readouterr().out
    lines = [line.split() for line in text.splitlines()]
    assert ["J", ".5000", ".7500", "0.6250"] in lines
    assert ["J&F", ".4500", ".7000", "0.5750", "0.6100", "0.6200"] in lines
    assert "note: the time limit struck" in text
    assert text.rstrip().endswith("report: somewhere/report.html")
    many = run(VariantRecord(RS4, (sample(),), timed), num_rounds=8)
    assert max(map(len, format_table(many).splitlines())) <= 120


class _Links(HTMLParser):
    """Every address that a page names, its ids, and whether its tags are balanced."""

    VOID = ("meta", "img", "br")

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.ids: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.addresses += [found[k] for k in ("src", "href") if found.get(k)]
        self.ids += [found["id"]] if found.get("id") else []
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def read_page(text: str) -> _Links:
    parser = _Links()
    parser.feed(text)
    assert not parser.open
    return parser


def test_the_report_is_whole_and_needs_nothing_from_outside(tmp_path: Path) -> None:
    frames = ArrayFrames(np.zeros((2, 40, 60, 3), np.uint8))
    masks = np.zeros((2, 40, 60), np.uint8)
    masks[:, 5:20, 5:20] = 1
    done = sample()
    names = [
        pictures.write_round_picture(
            tmp_path, RS4, done, r, frames=frames, masks=masks, previous_masks=None, ground_truth=masks
        )
        for r in done.rounds
    ]
    rounds = tuple(replace(r, picture=n) for r, n in zip(done.rounds, names, strict=True))
    empty = round_record(3, [[0.6, 0.8], [0.6, 1.0]], empty=True)
    first = replace(done, rounds=(*rounds, empty))
    other = replace(sample("bees & <wasps>", shift=-0.2), note="a note & more")
    timed = TimedSummary(0.61, 60.0, 0.62, (0, 2, 4, 6, 480), (0, 0.45, 0.7, 0.7, 0.7))
    record = run(VariantRecord(RS4, (first, other), timed), VariantRecord(WO, (first, other)), num_rounds=3)
    text = write_report(tmp_path, record).read_text()
    links = read_page(text)
    for address in links.addresses:
        assert "//" not in address and not address.startswith("/")
        if address.startswith("#"):
            assert address[1:] in links.ids, address
        elif "bees" not in address:
            assert (tmp_path / address).is_file(), address
    assert "http" not in re.sub(r"https?://www\.w3\.org", "", text)
    assert "<wasps>" not in text
    assert "a &lt;run&gt;" in text
    assert "nothing to correct" in text
    assert "python IVOS_main_DAVIS.py --rounds 2" in text
    assert "1 h 2 min" in text
    # The worst sequence comes first, in the table and in the pictures.
    for part in (text.split('id="sequences"')[1], text.split('id="pictures"')[1]):
        assert part.index("bees") < part.index("ants")


def test_summary_files(tmp_path: Path) -> None:
    timed = TimedSummary(0.61, 60.0, 0.62, (0, 2, 4, 480), (0, 0.45, 0.7, 0.7))
    record = run(VariantRecord(RS4, (sample(),), timed))
    write_report(tmp_path, record)
    framework = json.loads((tmp_path / "J_AND_F-RS4" / "summary.json").read_text())
    assert framework["auc"] == 0.61
    assert framework["metric_at_threshold"] == {"threshold": 60.0, "J_AND_F": 0.62}
    assert framework["curve"] == {"time": [0, 2, 4, 480], "J_AND_F": [0, 0.45, 0.7, 0.7]}
    assert framework["r_auc"]["J"] == pytest.approx(0.625)
    whole = json.loads((tmp_path / "summary.json").read_text())
    assert whole["variants"]["J_AND_F-RS4"] == framework
    assert whole["checkpoint"]["sha256"] == "ab" * 32
    assert whole["timings"]["J_AND_F-RS4"] == {"rounds_total_s": 4, "round_mean_s": 2, "per_frame_mean_s": 1}
    header, first, *_ = (tmp_path / "J_AND_F-RS4" / "summary_in_csv.csv").read_text().splitlines()
    assert header == "sequence,obj_idx,scr_idx,round-1,round-2"
    assert first == "ants,1,1,0.4,0.6"  # J, as in the published tables
    both = read_object_csv(tmp_path / "J_AND_F-RS4" / "objects_J_AND_F.csv")
    assert [r.values for r in both] == [pytest.approx((0.35, 0.55)), pytest.approx((0.55, 0.85))]


def test_a_nan_becomes_null_in_json(tmp_path: Path) -> None:
    write_report(tmp_path, run(VariantRecord(RS4, (sample(),)), options={"x": NAN}))
    assert json.loads((tmp_path / "summary.json").read_text())["options"]["x"] is None


def test_the_same_run_gives_the_same_bytes(tmp_path: Path) -> None:
    record = run(VariantRecord(RS4, (sample(), sample("bees", shift=-0.1))))
    for folder in ("a", "b"):
        write_report(tmp_path / folder, record)
    first = {p.relative_to(tmp_path / "a"): p.read_bytes() for p in (tmp_path / "a").rglob("*") if p.is_file()}
    second = {p.relative_to(tmp_path / "b"): p.read_bytes() for p in (tmp_path / "b").rglob("*") if p.is_file()}
    assert first == second


def test_a_run_without_samples_has_a_page() -> None:
    read_page(report_page(run()))
    assert "No sample has been evaluated yet" in report_page(run(VariantRecord(RS4, ())))


def test_rows_keep_the_published_order() -> None:
    rows = object_rows([sample("b"), sample("a", 2), sample("a", 1)], "J", 2)
    assert [r.key for r in rows] == [("a", 1, 1), ("a", 2, 1), ("a", 1, 2), ("a", 2, 2), ("b", 1, 1), ("b", 2, 1)]
    assert run_summary(run(VariantRecord(RS4, (sample(),))))["variants"]["J_AND_F-RS4"]["objects"] == 2


# ---- pictures ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("height", "width", "count"), [(40, 60, 2), (64, 36, 30), (20, 200, 12), (30, 30, 1), (1, 1, 3)]
)
def test_sheets_of_any_shape_of_video(height: int, width: int, count: int) -> None:
    frames = ArrayFrames(np.full((count, height, width, 3), 100, np.uint8))
    masks = np.zeros((count, height, width), np.uint8)
    masks[:, : height // 2 + 1, : width // 2 + 1] = 2
    j = np.linspace(0.2, 1, count)[:, None].repeat(2, axis=1)
    record = round_record(2, j, frame=count - 1, candidates=(0,))
    video = SampleRecord("v", (1, 2), count, height, width, rounds=(round_record(1, j),))
    sheet = pictures.round_sheet(video, record, frames=frames, masks=masks, previous_masks=masks, ground_truth=masks)
    assert sheet.dtype == np.uint8
    assert 600 < sheet.shape[1] <= pictures.SHEET_WIDTH + 10
    assert sheet.shape[0] < 900
    assert len(np.unique(sheet.reshape(-1, 3), axis=0)) > 20


def test_the_annotated_the_worst_and_the_proposed_frames_are_shown() -> None:
    record = round_record(1, [[0.9, 0.9]] * 20, frame=7, candidates=(3, 12, 5))
    record.jaccard[15] = 0.1
    video = SampleRecord("v", (1, 2), 20, 40, 60)
    shown = pictures._frames_to_show(video, record, 5)
    assert {7, 15, 3, 12} <= set(shown)
    assert shown == sorted(shown) and len(shown) == 5
    assert drawing.spread(3, [], 9) == [0, 4, 8]
    assert drawing.spread(9, [1], 3) == [0, 1, 2]
    assert drawing.spread(3, [8, 1, 1, 7, 5], 10) == [1, 7, 8]
    for frame in range(14):
        found = drawing.spread(9, [frame, 13], 14)
        assert len(set(found)) == 9 and {frame, 13} <= set(found)


def test_objects_are_coloured_by_place_so_that_distant_ids_differ() -> None:
    frames = ArrayFrames(np.zeros((2, 40, 60, 3), np.uint8))
    masks = np.zeros((2, 40, 60), np.uint8)
    masks[:, :20], masks[:, 20:] = 2, 9  # the palette repeats after seven colours
    low, high = (
        pictures.round_sheet(
            replace(sample(), object_ids=ids, rounds=()),
            round_record(1, [[0.5, 0.5], [0.5, 0.5]], annotation=None, candidates=None),
            frames=frames,
            masks=np.where(masks == 2, ids[0], ids[1]).astype(np.uint8),
            previous_masks=None,
            ground_truth=None,
        )
        for ids in ((1, 2), (2, 9))
    )
    assert (low == high).all()


def test_strokes_are_drawn_where_they_were_given() -> None:
    image = np.full((100, 200, 3), 90, np.uint8)
    annotation = FrameAnnotation(
        0, (Scribble(1, np.array([[0.25, 0.5], [0.75, 0.5]])),), (Click(2, 0.5, 0.9), Click(0, 0.1, 0.1))
    )
    drawn = drawing.draw_annotation(image, annotation).astype(int)
    changed = np.abs(drawn - 90).sum(axis=2) > 60
    assert changed[50, 60] and changed[50, 140] and changed[90, 100] and changed[10, 20]
    assert not changed[:5].any() and not changed[30].any() and not changed[50, :40].any()


def test_images_are_written_whole(tmp_path: Path) -> None:
    image = np.full((8, 9, 3), 200, np.uint8)
    for suffix, kind in ((".png", "PNG"), (".jpg", "JPEG")):
        path = drawing.write_image(tmp_path / f"x{suffix}", image)
        with Image.open(BytesIO(path.read_bytes())) as read:
            assert (read.format, read.size) == (kind, (9, 8))


def test_addresses_hold_for_any_name_and_the_command_for_any_folder() -> None:
    assert 'src="pictures/a%23b%20c%253F.jpg"' in page.picture("pictures/a#b c%3F.jpg", "", alt="")
    text = report_page(run(options={"results_dir": "/data/my results"}))
    assert "python -m libs.compare &#x27;/data/my results/davis/a &lt;run&gt;&#x27; --out comparison" in text


def test_a_late_round_counts_neither_in_times_nor_in_the_reliability() -> None:
    whole = sample()
    late = whole.with_round(replace(whole.rounds[-1], round=3, late=True, seconds=99.0))
    before, after = VariantRecord(RS4, (whole,)), VariantRecord(RS4, (late,))
    assert variant_timings(after) == variant_timings(before)
    assert len(plots.reliability(after).scores) == len(plots.reliability(before).scores)
    assert "came after the time limit" in report_page(run(after))
