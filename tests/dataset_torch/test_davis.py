"""Reading data sets in the layout of DAVIS, and everything that may be wrong with them."""

from __future__ import annotations

import json
import shutil

import cv2
import numpy as np
import pytest
from PIL import Image

from dataset_torch.davis import open_davis
from dataset_torch.errors import UserError
from dataset_torch.masks import write_mask
from tests.davis_data import HEIGHT, WIDTH, square_masks, stroke, write_scribbles, write_sequence


@pytest.fixture
def root(tmp_path):
    write_sequence(tmp_path, "walk", object_ids=(1, 2), scribble_sets=2)
    write_sequence(tmp_path, "bear")
    return tmp_path


def annotation(root, frame=2):
    return root / "Annotations" / "480p" / "walk" / f"{frame:05d}.png"


def image(root, frame=2):
    return root / "JPEGImages" / "480p" / "walk" / f"{frame:05d}.jpg"


def scribbles(root):
    return root / "Scribbles" / "walk" / "001.json"


def test_everything_is_read_from_the_data(root):
    data = open_davis(root, subset="val")
    assert [s.name for s in data.sequences] == ["bear", "walk"]  # by name, whatever the order in the file
    walk = data["walk"]
    assert (walk.num_frames, walk.height, walk.width, walk.object_ids) == (4, HEIGHT, WIDTH, (1, 2))
    np.testing.assert_array_equal(walk.ground_truth(), square_masks(4, (1, 2)))
    assert [path.name for path in walk.scribble_files] == ["001.json", "002.json"]
    assert walk.scribbles(2)["scribbles"][1][0] == stroke(1, shift=2)
    assert len(walk.frames()) == 4
    assert walk.frames().name == "walk"
    assert walk.frames().read(0).shape == (HEIGHT, WIDTH, 3)


def test_a_list_of_sequences(root):
    assert [s.name for s in open_davis(root, sequences=["walk", "walk"]).sequences] == ["walk"]


def test_ids_with_gaps_and_late_objects_are_found(tmp_path):
    masks = square_masks(4, (3, 7))
    masks[:3][masks[:3] == 7] = 0
    write_sequence(tmp_path, "gaps", masks=masks, object_ids=(3, 7))
    assert open_davis(tmp_path)["gaps"].object_ids == (3, 7)


def test_no_scribbles_are_no_error_yet(root):
    shutil.rmtree(root / "Scribbles")
    assert open_davis(root)["walk"].scribble_files == ()


def break_nothing(root):
    return {"subset": "train"}


def no_root(root):
    shutil.rmtree(root)


def no_images(root):
    shutil.rmtree(root / "JPEGImages")


def no_masks(root):
    shutil.rmtree(root / "Annotations")


def inner_folder(root):
    (root / "DAVIS").mkdir()
    for name in ("JPEGImages", "Annotations"):
        (root / name).rename(root / "DAVIS" / name)


def empty_subset(root):
    (root / "ImageSets" / "2017" / "val.txt").write_text("\n")


def unknown_sequence(root):
    return {"sequences": ["run"]}


def no_sequence(root):
    return {"sequences": []}


def both(root):
    return {"sequences": ["walk"], "subset": "val"}


def zero_frames(root):
    for path in image(root).parent.iterdir():
        path.unlink()


def frame_without_mask(root):
    annotation(root).unlink()


def mask_without_frame(root):
    image(root, 3).unlink()


def no_mask_folder(root):
    shutil.rmtree(annotation(root).parent)


def mask_size(root):
    write_mask(annotation(root), np.ones((HEIGHT, WIDTH + 1), np.uint8))


def frame_size(root):
    image(root).write_bytes(cv2.imencode(".jpg", np.zeros((HEIGHT + 2, WIDTH, 3), np.uint8))[1].tobytes())


def rgb_mask(root):
    Image.fromarray(np.zeros((HEIGHT, WIDTH, 3), np.uint8)).save(annotation(root))


def void(root):
    mask = square_masks(4, (1, 2))[2]
    mask[0, 0] = 255
    write_mask(annotation(root), mask)


def no_object(root):
    for frame in range(4):
        write_mask(annotation(root, frame), np.zeros((HEIGHT, WIDTH), np.uint8))


def truncated_jpeg(root):
    image(root).write_bytes(image(root).read_bytes()[:-40])


def no_jpeg(root):
    image(root).write_bytes(b"not an image")


def unreadable_png(root):
    annotation(root).write_bytes(annotation(root).read_bytes()[:60])


def scribbles_no_json(root):
    scribbles(root).write_text("{")


def scribbles_no_list(root):
    scribbles(root).write_text(json.dumps({"sequence": "walk"}))


def scribbles_of_another(root):
    write_scribbles(scribbles(root), "bear", [[], [stroke(1)], [], []])


def scribbles_of_other_length(root):
    write_scribbles(scribbles(root), "walk", [[stroke(1)], []])


def scribbles_empty(root):
    write_scribbles(scribbles(root), "walk", [[], [], [], []])


def scribbles_unknown_id(root):
    write_scribbles(scribbles(root), "walk", [[], [stroke(3)], [], []])


def scribbles_in_pixels(root):
    write_scribbles(scribbles(root), "walk", [[], [{**stroke(1), "path": [[0.2, 0.2], [25, 12]]}], [], []])


def scribbles_negative(root):
    write_scribbles(scribbles(root), "walk", [[], [{**stroke(1), "path": [[-0.01, 0.2]]}], [], []])


def scribbles_nan(root):
    write_scribbles(scribbles(root), "walk", [[], [{**stroke(1), "path": [[float("nan"), 0.2]]}], [], []])


def scribbles_bad_point(root):
    write_scribbles(scribbles(root), "walk", [[], [{**stroke(1), "path": [[0.1, 0.2, 0.3]]}], [], []])


def scribbles_no_path(root):
    write_scribbles(scribbles(root), "walk", [[], [{"object_id": 1}], [], []])


def scribbles_no_frame_list(root):
    write_scribbles(scribbles(root), "walk", [[], {}, [], []])


def scribble_number_left_out(root):
    scribbles(root).unlink()


BAD_INPUT = {
    break_nothing: "no subset 'train'.*subsets found: val",
    no_root: "does not exist.*JPEGImages",
    no_images: "holds no JPEGImages/480p.*found: Annotations, ImageSets, Scribbles.*Expected layout",
    no_masks: "holds no Annotations/480p",
    inner_folder: "but a folder DAVIS. Give",
    empty_subset: "names no sequence",
    unknown_sequence: "no frames of run.*bear, walk",
    no_sequence: "no sequence was given",
    both: "not both",
    zero_frames: "walk has zero frames",
    frame_without_mask: r"1 of 4 frames have no mask .*00002\.png",
    mask_without_frame: r"mask .*00003\.png has no frame",
    no_mask_folder: "4 of 4 frames have no mask",
    mask_size: r"mask .*00002\.png is 61x40, its frame 60x40",
    frame_size: r"frame .*00002\.jpg is 60x42, the first frame 60x40",
    rgb_mask: "is a RGB picture, not object ids",
    void: "void label 255",
    no_object: "no mask shows an object",
    truncated_jpeg: r"frame .*00002\.jpg is truncated",
    no_jpeg: r"frame .*00002\.jpg cannot be read",
    unreadable_png: r"mask .*00002\.png cannot be read",
    scribbles_no_json: "cannot be read",
    scribbles_no_list: "expected",
    scribbles_of_another: "belong to 'bear', not to 'walk'",
    scribbles_of_other_length: "cover 2 frames, the sequence has 4",
    scribbles_empty: "hold no stroke",
    scribbles_unknown_id: "unknown object id 3; the masks have 1, 2",
    scribbles_in_pixels: r"\[25, 12\] outside 0 .. 1",
    scribbles_negative: r"\[-0.01, 0.2\] outside 0 .. 1",
    scribbles_nan: "not a finite number",
    scribbles_bad_point: r"a point is \[x, y\]",
    scribbles_no_path: 'a stroke needs "path"',
    scribbles_no_frame_list: "expected a list of strokes",
    scribble_number_left_out: r"scribble files \[2\]",
}


@pytest.mark.parametrize("breaking", BAD_INPUT, ids=lambda function: function.__name__)
def test_bad_input_is_told(root, breaking):
    arguments = breaking(root) or {}
    with pytest.raises(UserError, match=f"(?s){BAD_INPUT[breaking]}"):
        open_davis(root, **arguments)


def test_a_list_may_begin_with_the_mark_that_windows_writes(root):
    path = root / "ImageSets" / "2017" / "val.txt"
    path.write_bytes(b"\xef\xbb\xbfwalk\r\nbear\r\n")
    assert [s.name for s in open_davis(root, subset="val").sequences] == ["bear", "walk"]
    path.write_bytes(b"w\xe4lk\n")
    with pytest.raises(UserError, match="must be text in UTF-8"):
        open_davis(root, subset="val")
