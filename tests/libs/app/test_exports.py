from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from dataset_torch.errors import UserError
from dataset_torch.frames import open_frames
from dataset_torch.masks import encode_mask
from libs.app.coco import rle_counts, rle_decode, rle_string
from libs.app.controller import Controller
from libs.app.exports import EXPORTS, ExportOptions
from libs.app.imports import import_file
from libs.app.sinks import FolderSink, ZipSink
from libs.interactions import Scribble
from tests.libs.app.conftest import write_frames
from tests.libs.app.stand_in import make_segmenter, squares, stroke_on


def controller_on(folder: Path, name: str) -> Controller:
    return Controller(make_segmenter(), open_frames(folder), folder.parent / name)


@pytest.fixture
def controller(tmp_path: Path):
    controller = controller_on(write_frames(tmp_path / "squares"), "w")
    controller.change_object(1, name="red/square: ü")
    controller.add_object(name="blue")
    for object_id in (1, 2):
        controller.add_mark(5, Scribble(object_id, np.array(stroke_on(5, object_id))))
    controller.run()
    yield controller
    controller.close()


def export(controller: Controller, kind: str, path: Path, options: ExportOptions | None = None) -> zipfile.ZipFile:
    ticks: list[tuple[int, int]] = []
    with ZipSink(path) as sink:
        EXPORTS[kind](controller, sink, options or ExportOptions(), lambda *tick: ticks.append(tick))
    assert ticks[-1] == (12, 12)
    return zipfile.ZipFile(path)


@pytest.mark.parametrize("kind", ["masks", "coco"])
def test_export_and_import_give_the_same_masks_and_names(controller, tmp_path, kind):
    export(controller, kind, tmp_path / "e.zip").close()
    other = controller_on(tmp_path / "squares", "other")
    assert import_file(other, tmp_path / "e.zip") == 12
    for frame in range(12):
        np.testing.assert_array_equal(other.mask(frame), controller.mask(frame))
    assert other.objects.get(2).name == "blue"
    other.close()


def test_masks_are_palette_pngs_in_davis_layout(controller, tmp_path):
    with export(controller, "masks", tmp_path / "e.zip") as archive:
        image = Image.open(io.BytesIO(archive.read("Annotations/480p/squares/00003.png")))
    assert image.mode == "P" and image.getpalette()[:6] == [0, 0, 0, 128, 0, 0]
    np.testing.assert_array_equal(np.asarray(image), squares()[1][3])


def test_folder_and_zip_hold_the_same(controller, tmp_path):
    with FolderSink(tmp_path / "out") as sink:
        EXPORTS["masks"](controller, sink, ExportOptions(), lambda *tick: None)
    with export(controller, "masks", tmp_path / "e.zip") as archive:
        for name in archive.namelist():
            assert (tmp_path / "out" / name).read_bytes() == archive.read(name)
    with pytest.raises(UserError, match="exists already"):
        FolderSink(tmp_path / "out")


def test_a_stopped_export_leaves_nothing(controller, tmp_path):
    class Stopped(Exception):
        pass

    def stop(done: int, total: int) -> None:
        if done == 3:
            raise Stopped

    (tmp_path / "x").mkdir()
    for sink in (ZipSink(tmp_path / "x" / "e.zip"), FolderSink(tmp_path / "x" / "out")):
        with pytest.raises(Stopped), sink:
            EXPORTS["masks"](controller, sink, ExportOptions(), stop)
    assert list((tmp_path / "x").iterdir()) == []


def test_overlay_film_has_every_frame_in_the_chosen_colours(controller, tmp_path):
    controller.change_object(2, hidden=True)
    options = ExportOptions({1: (0, 255, 0), 2: (255, 255, 255)}, alpha=1.0, contours=False)
    with export(controller, "overlay", tmp_path / "e.zip", options) as archive:
        (tmp_path / "a.mp4").write_bytes(archive.read("squares.mp4"))
    film = open_frames(tmp_path / "a.mp4")
    assert len(film) == 12 and (film.height, film.width) == (48, 64)
    image = film.read(3).astype(int)
    assert np.abs(image[8:10, 12:16] - (0, 255, 0)).max() < 60  # inside object 1
    assert np.abs(image[22:24, 18:20] - (40, 60, 220)).max() < 70  # object 2 is hidden: the video itself


def test_soft_masks_and_cutouts(controller, tmp_path):
    probabilities = controller.probabilities(3)
    with export(controller, "soft", tmp_path / "e.zip") as archive:
        assert {name.split("/")[0] for name in archive.namelist()} == {"1-red_square_ ü", "2-blue"}
        soft = np.asarray(Image.open(io.BytesIO(archive.read("2-blue/00003.png"))))
    np.testing.assert_allclose(soft / 255, probabilities[2], atol=0.003)
    with export(controller, "cutouts", tmp_path / "c.zip") as archive:
        image = Image.open(io.BytesIO(archive.read("1-red_square_ ü/00003.png")))
    assert image.mode == "RGBA"
    np.testing.assert_array_equal(np.asarray(image)[..., :3], squares()[0][3])
    np.testing.assert_allclose(np.asarray(image)[..., 3] / 255, probabilities[1], atol=0.003)


def test_coco_says_where_every_object_is(controller, tmp_path):
    with export(controller, "coco", tmp_path / "e.zip") as archive:
        content = json.loads(archive.read("annotations.json"))
    assert len(content["images"]) == 12 and content["images"][3]["file_name"] == "00003.png"
    [first] = [a for a in content["annotations"] if a["image_id"] == 4 and a["track_id"] == 1]
    assert first["bbox"] == [9, 4, 10, 10] and first["area"] == 100  # the square of object 1 on frame 3
    assert {c["name"] for c in content["categories"]} == {"red/square: ü", "blue"}


def test_yolo_polygons_fill_to_the_same_mask(controller, tmp_path):
    with export(controller, "yolo", tmp_path / "e.zip") as archive:
        lines = archive.read("labels/00003.txt").decode().splitlines()
        assert '1: "blue"' in archive.read("data.yaml").decode()
    drawn = np.zeros((48, 64), np.uint8)
    for line in lines:
        number, *values = line.split()
        points = np.array(values, float).reshape(-1, 2) * (64, 48) - 0.5
        cv2.fillPoly(drawn, [np.round(points).astype(np.int32)], int(number) + 1)
    np.testing.assert_array_equal(drawn, squares()[1][3])


def test_run_lengths_by_hand():
    # Columns: 0 1 1 / 0 0 0 / 1 1 0: one zero, two ones, three zeros, two ones, one zero.
    mask = np.array([[0, 0, 1], [1, 0, 1], [1, 0, 0]], bool)
    assert rle_counts(mask) == [1, 2, 3, 2, 1]
    # 1, 2, 3 as they are; 2 - 2 = 0; 1 - 3 = -2: one character of five bits each.
    assert rle_string([1, 2, 3, 2, 1]) == "1230N"
    assert rle_counts(np.ones((2, 2), bool)) == [0, 4]
    assert rle_string([0, 100]) == "0T3"  # 100 = 4 + 3 * 32: chr(48 + 32 + 4), chr(48 + 3)


@pytest.mark.parametrize("seed", range(5))
def test_run_lengths_there_and_back(seed):
    random = np.random.default_rng(seed)
    mask = random.random((37, 53)) < random.random()
    counts = rle_counts(mask)
    for form in (counts, rle_string(counts)):
        np.testing.assert_array_equal(rle_decode({"size": [37, 53], "counts": form}, 37, 53), mask)


@pytest.mark.parametrize("counts", ["", "~~~", "111", [4], [-1, 10], "P" * 500, None, [True, 8]])
def test_wrong_run_lengths_are_refused(counts):
    with pytest.raises(UserError):
        rle_decode({"size": [3, 3], "counts": counts}, 3, 3)


def zipped(**files: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in files.items():
            archive.writestr(name.replace("__", "."), data)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "neither a zip"),
        (b"\x89PNG", "neither a zip"),
        (b"PK\x03\x04 nonsense", "zip cannot be read"),
        (zipped(a__txt=b"x"), "no mask in it"),
        (zipped(**{"00003__png": b"not a picture"}), "cannot be read"),
        (b"{}", "no COCO JSON"),
        (b'{"images": [], "annotations": [{}], "categories": []}', "no COCO JSON"),
        (b'{"images": [], "annotations": [], "categories": []}', "no mask in it"),
        (b"{" * 100_000, "no COCO JSON"),
    ],
)
def test_files_that_are_no_masks_are_refused_with_nothing_changed(controller, tmp_path, data, message):
    (tmp_path / "file").write_bytes(data)
    before = controller.history.position, [controller.mask(f).tobytes() for f in range(12)]
    with pytest.raises(UserError, match=message):
        import_file(controller, tmp_path / "file")
    assert (controller.history.position, [controller.mask(f).tobytes() for f in range(12)]) == before


def test_a_picture_that_unpacks_to_gigabytes_is_refused(controller, tmp_path):
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("00000.png", bytes((64 << 20) + 1))
    with pytest.raises(UserError, match="larger than"):
        import_file(controller, tmp_path / "bomb.zip")


@pytest.mark.parametrize("kind", ["masks", "coco"])
def test_frames_that_were_not_segmented_do_not_come_back_as_segmented(controller, tmp_path, kind):
    controller.undo()  # the propagation: only frame 5 is left
    export(controller, kind, tmp_path / "e.zip").close()
    other = controller_on(tmp_path / "squares", "other")
    assert import_file(other, tmp_path / "e.zip") == 1
    assert list(other.session.state.predictions) == [5]
    np.testing.assert_array_equal(other.mask(5), controller.mask(5))
    other.close()


def test_an_empty_mask_that_was_painted_on_is_taken(controller, tmp_path):
    controller.undo()
    painted = squares()[1][3]
    with export(controller, "masks", tmp_path / "e.zip") as old, zipfile.ZipFile(tmp_path / "p.zip", "w") as new:
        for name in old.namelist():
            new.writestr(name, encode_mask(painted) if name.endswith("00003.png") else old.read(name))
    other = controller_on(tmp_path / "squares", "other")
    assert import_file(other, tmp_path / "p.zip") == 2
    np.testing.assert_array_equal(other.mask(3), painted)
    other.close()
