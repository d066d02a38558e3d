"""The YouTube-iVOS evaluation from files to tables: killed, resumed, shared, and refused in words."""

from __future__ import annotations

import json
import signal
from dataclasses import replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest

from config import Config
from dataset_torch.errors import UserError
from dataset_torch.masks import write_mask
from libs.reports.records import Variant
from libs.reports.storage import load_samples, sample_path
from libs.reports.summary import read_object_csv
from libs.youtube_evaluation import prepare, video_names
from libs.youtube_points import make_points, points_file, read_points, write_points
from tests.libs import evaluation_runs
from tests.libs.youtube_data import play, settings, write_data

LABELS = ("points05-wo_RS", "points05-RS1")
tables = partial(evaluation_runs.tables, labels=LABELS, names=(*evaluation_runs.TABLES, "summary.json"))
in_process = partial(evaluation_runs.in_process, "tests.libs.youtube_data")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("youtube"))


@pytest.fixture(scope="module")
def straight(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that was never stopped, with pictures."""
    results = tmp_path_factory.mktemp("straight")
    record = play(settings(data, results, pictures=True, save_masks=True))
    assert record is not None
    return results / "youtube" / "run"


def test_everything_is_written(straight: Path) -> None:
    for name in ("report.html", "summary.json", "settings.json", "curve.png", "reliability.png", "log.txt"):
        assert (straight / name).stat().st_size > 0, name
    for label in LABELS:
        rows = read_object_csv(straight / label / "summary_in_csv.csv")
        assert [row.key for row in rows] == [("alpha", 1, 1), ("alpha", 2, 1), ("beta", 3, 1), ("beta", 7, 1)]
        assert len(list((straight / label / "pictures").glob("*.jpg"))) >= 2
        masks = sorted((straight / label / "masks" / "beta-001" / "round1").glob("*.png"))
        assert [m.stem for m in masks] == [f"{5 * i:05d}" for i in range(6)]
        assert not list((straight / label / "sessions").glob("*"))
    summary = json.loads((straight / "summary.json").read_text())
    for variant in summary["variants"].values():
        assert 0 < min(variant["rounds"]["J"]) < max(variant["rounds"]["F"]) < 1  # neither perfect nor empty
        assert variant["objects"] == 4
    assert summary["checkpoint"]["name"] == "colour.pth"


def test_the_points_that_were_made_are_kept_in_the_published_form(straight: Path, data: Path) -> None:
    points = read_points(points_file(straight / "points", 5))
    assert sorted(points) == ["alpha", "beta"]
    assert points["beta"].frame_name == "00010"  # object 7 comes at the third frame
    video = prepare(settings(data, straight)).dataset.video("beta")
    for mine, kept in zip(make_points(video, 5).objects, points["beta"].objects, strict=True):
        assert (mine == kept).all()


def test_the_same_command_again_changes_nothing(straight: Path, data: Path) -> None:
    before = tables(straight)
    files = {p: p.stat().st_mtime_ns for p in straight.glob("*/samples/*.npz")}
    assert play(settings(data, straight.parents[1], save_masks=True)) is not None
    assert tables(straight) == before
    assert {p: p.stat().st_mtime_ns for p in straight.glob("*/samples/*.npz")} == files


@pytest.mark.parametrize("rounds_played", [1, 5])
def test_a_killed_run_goes_on_to_the_same_tables(
    straight: Path, data: Path, tmp_path: Path, rounds_played: int
) -> None:
    process = in_process(data, tmp_path, str(rounds_played))
    output, _ = process.communicate(timeout=300)
    assert process.returncode == -signal.SIGKILL, output
    run = tmp_path / "youtube" / "run"
    assert not (run / "report.html").exists()
    kept = sum(len(s.rounds) for label in LABELS for s in load_samples(run, variant_of(label)))
    assert kept == rounds_played
    assert play(settings(data, tmp_path)) is not None
    assert tables(run) == tables(straight)


def test_two_processes_give_the_same_tables_as_one(straight: Path, data: Path, tmp_path: Path) -> None:
    processes = [in_process(data, tmp_path, RANK=str(rank), WORLD_SIZE="2") for rank in range(2)]
    for process in processes:
        output, _ = process.communicate(timeout=300)
        assert process.returncode == 0, output
    run = tmp_path / "youtube" / "run"
    assert tables(run) == tables(straight)
    assert (run / "log-1.txt").is_file()


def test_published_points_are_used_when_they_are_given(straight: Path, data: Path, tmp_path: Path) -> None:
    made = read_points(points_file(straight / "points", 5))
    folder = tmp_path / "points"
    write_points(points_file(folder, 5), made)
    config = settings(data, tmp_path, youtube_points=folder)
    assert prepare(config).points[5].keys() == made.keys()
    assert play(config) is not None
    assert tables(tmp_path / "youtube" / "run") == tables(straight)


def test_a_list_decides_which_videos_are_played(data: Path, tmp_path: Path) -> None:
    listed = tmp_path / "videos.txt"
    listed.write_text("# only one\nbeta\n\nbeta\n")
    assert prepare(settings(data, tmp_path, youtube_videos=listed)).names == ("beta",)
    listed.write_text("gamma\n")
    with pytest.raises(UserError, match="1 of 1 wanted videos are not in"):
        prepare(settings(data, tmp_path, youtube_videos=listed))
    listed.write_text("\n")
    with pytest.raises(UserError, match="is empty"):
        prepare(settings(data, tmp_path, youtube_videos=listed))
    with pytest.raises(UserError, match="cannot be read"):
        video_names(tmp_path / "nowhere.txt", {})


def test_points_of_another_release_are_refused_before_anything_is_played(data: Path, tmp_path: Path) -> None:
    made = prepare(settings(data, tmp_path)).points_of
    dataset = prepare(settings(data, tmp_path)).dataset
    points = {name: made(dataset.video(name), 5) for name in ("alpha", "beta")}
    other = {**points, "beta": type(points["beta"])("00012", points["beta"].objects)}
    write_points(points_file(tmp_path, 5), other)
    with pytest.raises(UserError, match=r"video beta has no frame 00012.*every 5th.*2019 release"):
        play(settings(data, tmp_path, youtube_points=tmp_path))
    write_points(
        points_file(tmp_path, 5), {**points, "beta": type(points["beta"])("00010", points["beta"].objects[:1])}
    )
    with pytest.raises(UserError, match="for 1 object, the data has 2"):
        play(settings(data, tmp_path, youtube_points=tmp_path))
    with pytest.raises(UserError, match=r"point_info_20\.json cannot be read"):
        play(settings(data, tmp_path, youtube_points=tmp_path, youtube_point_counts=(5, 20)))
    assert not (tmp_path / "youtube").exists()


def test_another_setting_is_another_run(straight: Path, data: Path) -> None:
    before = tables(straight)
    with pytest.raises(UserError, match=r"run with other settings \(--rounds: there 3, now 2\)"):
        play(settings(data, straight.parents[1], rounds=2))
    assert tables(straight) == before


def test_so_is_changed_data(tmp_path: Path) -> None:
    data = write_data(tmp_path / "data")
    config = settings(data, tmp_path, guidance=("wo_RS",), rounds=1)
    assert play(config) is not None
    meta = json.loads((data / "train" / "meta.json").read_text())
    del meta["videos"]["alpha"]["objects"]["2"]
    (data / "train" / "meta.json").write_text(json.dumps(meta))
    with pytest.raises(UserError, match=r"other settings \(--youtube-videos: another one now\)"):
        play(config)


def test_a_video_without_ground_truth_is_refused(tmp_path: Path) -> None:
    data = write_data(tmp_path / "data")
    for mask in (data / "train" / "Annotations" / "alpha").iterdir():
        write_mask(mask, np.zeros((32, 48), np.uint8))
    with pytest.raises(UserError, match="alpha: no mask shows any of its objects"):
        play(settings(data, tmp_path, guidance=("wo_RS",), rounds=1))


def test_masks_that_were_not_kept_are_told_of(data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = settings(data, tmp_path, guidance=("wo_RS",), rounds=1)
    assert play(config) is not None and not caplog.records
    assert play(replace(config, save_masks=True)) is not None
    told = [r.getMessage() for r in caplog.records]
    assert len(told) == 2 and all("were not kept when it was played" in text for text in told)


def test_a_damaged_record_is_named(data: Path, tmp_path: Path) -> None:
    config = settings(data, tmp_path, guidance=("wo_RS",), rounds=1)
    assert play(config) is not None
    path = sample_path(tmp_path / "youtube" / "run", Variant("wo_RS", points=5), "alpha")
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UserError, match=r"alpha-001.npz is damaged.*Delete it"):
        play(config)
    path.unlink()
    assert play(config) is not None


def test_settings_that_this_benchmark_does_not_have_are_refused(data: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Give one"):
        prepare(settings(data, tmp_path, metric=("J", "F")))
    with pytest.raises(UserError, match="has no folder JPEGImages"):
        prepare(settings(tmp_path, tmp_path))


def test_a_frame_without_mask_is_named(tmp_path: Path) -> None:
    root = write_data(tmp_path / "data")
    (root / "train" / "Annotations" / "alpha" / "00020.png").unlink()
    with pytest.raises(UserError, match=r"00020.png does not exist"):
        play(settings(root, tmp_path))


def test_the_published_network_is_run_at_480(data: Path) -> None:
    from libs.evaluation import segmenter_options
    from libs.geometry import Geometry
    from tests.fakes import ColourNetwork

    options = segmenter_options(ColourNetwork(), Config(), benchmark="youtube")
    assert (options.short_side, options.resize_method, options.blend) == (480, "cubic", False)
    assert options.output_interpolation == "nearest"
    portrait = Geometry.of(1280, 720, short_side=480)
    assert (portrait.working_height, portrait.working_width) == (853, 480)


@pytest.mark.parametrize("benchmark", ["davis", "youtube"])
def test_what_the_published_run_does_is_an_option(benchmark: str) -> None:
    from libs.evaluation import segmenter_options
    from libs.guidance import PUBLISHED
    from networks.compact.network import CompactGIS
    from networks.network import GISNet

    def choices(network: type, **changes: object) -> tuple[bool, bool, bool]:
        options = segmenter_options(network, Config(**changes), benchmark=benchmark)
        return options.wrap_scribbles, options.repeat_memory, options.guidance == PUBLISHED

    assert choices(GISNet) == (False, True, True)
    assert choices(CompactGIS) == (False, False, False)
    turned = {"wrap_scribbles": True, "repeat_memory": False, "guidance_rule": "improved"}
    assert choices(GISNet, **turned) == (True, False, False)
    turned = {"wrap_scribbles": True, "repeat_memory": True, "guidance_rule": "published"}
    assert choices(CompactGIS, **turned) == (True, True, True)
    assert Config().score_foreground == "over_objects"  # the published region of the R-score


def variant_of(label: str) -> Variant:
    return Variant(label.partition("-")[2], points=5)


def test_truncated_frames_are_named(tmp_path: Path) -> None:
    root = write_data(tmp_path / "data")
    path = root / "train" / "JPEGImages" / "beta" / "00015.jpg"
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(UserError, match=r"00015.jpg is truncated"):
        play(settings(root, tmp_path))
    small = cv2.imencode(".jpg", np.zeros((10, 10, 3), np.uint8))[1].tobytes()
    path.write_bytes(small)
    with pytest.raises(UserError, match=r"All frames of a video must have one size"):
        play(settings(root, tmp_path))


def test_what_differs_from_the_published_run_is_kept(data: Path, tmp_path: Path, monkeypatch) -> None:
    from libs import published
    from libs.youtube_points import digest

    dataset = prepare(settings(data, tmp_path)).dataset
    points = {name: make_points(dataset.video(name), 5) for name in ("alpha", "beta")}
    write_points(points_file(tmp_path, 5), points)

    def differs(**changes: object) -> tuple[str, ...]:
        from libs.youtube_evaluation import _differences

        return _differences(prepare(settings(data, tmp_path, **changes)))

    assert differs() == differs(youtube_points=tmp_path) == ("the first-round points are not the published ones",)
    monkeypatch.setitem(published.POINTS, 5, digest(points, sorted(points)))
    assert differs(youtube_points=tmp_path) == ()
    listed = tmp_path / "videos.txt"
    listed.write_text("beta\nalpha\n")  # the order of play does not matter
    assert differs(youtube_points=tmp_path, youtube_videos=listed) == ()
    assert len(differs(youtube_absent="skip", youtube_repeat_frames=True)) == 3
    record = play(settings(data, tmp_path, guidance=("wo_RS",), rounds=1, youtube_repeat_frames=True))
    assert "frames may be annotated again" in record.differs


def test_a_relative_root_is_the_sample_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_data(tmp_path / "sample" / "YouTube")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("libs.youtube_evaluation.SAMPLE", root.parent)
    record = play(settings(Path("sample/YouTube"), tmp_path, guidance=("wo_RS",), rounds=1))
    assert record.data.startswith("the bundled sample")
    with pytest.raises(UserError, match="the data set folder nosuch does not exist"):
        play(settings(Path("nosuch"), tmp_path))
