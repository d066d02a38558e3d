"""First-round points: the published format, points of our own, and where they end up in the network's planes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from dataset_torch.errors import UserError
from libs.scribble_maps import interaction_planes
from libs.youtube_points import (
    VideoPoints,
    first_full_frame,
    make_points,
    points_annotation,
    points_file,
    read_points,
    write_points,
)
from tests.libs.youtube_data import ArrayVideo


@pytest.fixture
def video() -> ArrayVideo:
    """Object 2 from the start, object 5 (three pixels) from frame 1 on."""
    masks = np.zeros((3, 20, 30), np.uint8)
    masks[:, 4:12, 6:16] = 2
    masks[1:, 15, 20:23] = 5
    return ArrayVideo(masks, (2, 5))


@pytest.mark.parametrize(
    ("height", "width", "row", "column"),
    # (10.5 / 40, 20.5 / 56) of the size, rounded down
    [(40, 56, 10, 20), (80, 112, 21, 41), (26, 36, 6, 13)],
)
def test_a_point_lands_on_the_same_place_at_every_size(height: int, width: int, row: int, column: int) -> None:
    points = VideoPoints("00000", (np.array([[10, 20]]), np.zeros((0, 2), int)))
    annotation = points_annotation(points, frame=0, object_ids=(1, 2), height=40, width=56, name="v")
    planes = interaction_planes([annotation], (1, 2), None, height, width)
    rows, columns = np.nonzero(planes[0, 1])
    # A pixel, dilated by 7x7 (3 each way) and blurred by 5x5 (2 each way), reaches 5 pixels each way.
    assert (rows.min(), rows.max()) == (row - 5, row + 5)
    assert (columns.min(), columns.max()) == (column - 5, column + 5)
    assert planes[0, 1].max() == pytest.approx(1)
    assert (planes[:, 0] == 0.5).all()
    assert not planes[1, 1].any()
    assert not planes[:, 2].any()


def test_points_at_the_far_corner_stay_inside() -> None:
    points = VideoPoints("00000", (np.array([[0, 0], [39, 55]]),))
    annotation = points_annotation(points, frame=3, object_ids=(9,), height=40, width=56, name="v")
    assert annotation.frame == 3
    assert {c.object_id for c in annotation.clicks} == {9}
    plane = interaction_planes([annotation], (9,), None, 40, 56)[0, 1]
    assert plane[0, 0] > 0 and plane[39, 55] > 0 and plane[0, 55] == 0


def test_points_that_do_not_fit_the_video_are_refused() -> None:
    points = VideoPoints("00000", (np.array([[719, 10]]),))
    with pytest.raises(UserError, match="row 719, column 10, outside of the 56x40"):
        points_annotation(points, frame=0, object_ids=(1,), height=40, width=56, name="v")
    with pytest.raises(UserError, match="for 1 object, the data has 2"):
        points_annotation(points, frame=0, object_ids=(1, 2), height=40, width=56, name="v")


def test_made_points_lie_inside_their_objects_on_the_first_full_frame(video: ArrayVideo) -> None:
    points = make_points(video, 5)
    assert points.frame_name == "00005"
    first, second = points.objects
    assert (video.mask(1)[first[:, 0], first[:, 1]] == 2).all()
    assert len({tuple(p) for p in first}) == 5
    assert sorted(map(tuple, second.tolist())) == [(15, 20), (15, 21), (15, 22)]  # all that it has


def test_made_points_depend_on_the_name_alone_and_fewer_are_the_first_of_more(video: ArrayVideo) -> None:
    again = make_points(ArrayVideo(video.array.copy(), video.object_ids), 20)
    for few, many in zip(make_points(video, 5).objects, again.objects, strict=True):
        assert (few == many[:5]).all()
    other = make_points(ArrayVideo(video.array, video.object_ids, name="another"), 5)
    assert (other.objects[0] != make_points(video, 5).objects[0]).any()


def test_made_points_are_the_same_in_every_version() -> None:
    # The stream of RandomState is frozen: a change here changes everyone's benchmark.
    masks = np.ones((1, 4, 5), np.uint8)
    assert make_points(ArrayVideo(masks, (1,), name="video"), 3).objects[0].tolist() == [[3, 0], [3, 3], [2, 1]]


def test_without_a_frame_that_shows_all_objects_the_first_of_the_fullest_counts() -> None:
    masks = np.zeros((4, 6, 6), np.uint8)
    masks[1, 0, 0], masks[2, 1, 1], masks[3, 2, :3] = 1, 2, (1, 2, 9)
    assert first_full_frame(ArrayVideo(masks, (1, 2))) == 3
    masks[3] = 0
    video = ArrayVideo(masks, (1, 2))
    assert first_full_frame(video) == 1
    assert [len(o) for o in make_points(video, 5).objects] == [1, 0]


def test_files_have_the_published_form(video: ArrayVideo, tmp_path: Path) -> None:
    made = {"video": make_points(video, 5)}
    path = write_points(points_file(tmp_path, 5), made)
    assert path.name == "point_info_05.json"
    entry = json.loads(path.read_text())["video"]
    assert entry["fr"] == "00005.png"
    assert [len(lists) for lists in entry["points"]] == [2, 2]
    assert [len(lists[0]) for lists in entry["points"]] == [5, 3]
    read = read_points(path)["video"]
    assert read.frame_name == "00005"
    for a, b in zip(read.objects, made["video"].objects, strict=True):
        assert (a == b).all()


def test_a_published_entry_is_rows_then_columns(tmp_path: Path) -> None:
    path = tmp_path / "point_info_02.json"
    path.write_text('{"0a7a2514aa": {"fr": "00060.png", "points": [[[156, 355], [1049, 1058]]]}}')
    points = read_points(path)["0a7a2514aa"]
    assert points.frame_name == "00060"
    assert points.objects[0].tolist() == [[156, 1049], [355, 1058]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("no json", "is not JSON"),
        ("[1, 2]", "must map video names"),
        ('{"a": {"points": []}}', "expected"),
        ('{"a": {"fr": "00000.png", "points": [[[1, 2], [3]]]}}', "expected"),
        ('{"a": {"fr": "00000.png", "points": [[[1.5], [3]]]}}', "whole numbers"),
        ('{"a": 7}', "expected"),
    ],
)
def test_files_of_another_form_are_refused(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "point_info_05.json"
    path.write_text(content)
    with pytest.raises(UserError, match=message):
        read_points(path)


def test_a_missing_file_says_where_points_come_from(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="leave it out and points are made"):
        read_points(points_file(tmp_path, 50))
