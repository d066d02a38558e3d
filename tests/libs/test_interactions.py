"""Scribbles, clicks, and reading the DAVIS dictionary."""

import numpy as np
import pytest

from dataset_torch.errors import UserError
from libs.interactions import Click, FrameAnnotation, Scribble, annotations_from_davis


def line(object_id=1, path=((0.1, 0.2), (0.3, 0.4))):
    return {"object_id": object_id, "path": [list(p) for p in path]}


@pytest.mark.parametrize(
    "points, message",
    [
        ([[0.5, 1.2]], "1.2, outside"),
        ([[-0.1, 0.5]], "outside"),
        ([[float("nan"), 0.5]], "not a finite number"),
        ([[float("inf"), 0.5]], "not a finite number"),
        ([], "k x 2"),
        ([[0.1, 0.2, 0.3]], "k x 2"),
    ],
)
def test_impossible_strokes_are_refused(points, message):
    with pytest.raises(UserError, match=message):
        Scribble(1, np.array(points))


def test_pixels_instead_of_fractions_are_explained():
    with pytest.raises(UserError, match="not pixels"):
        Click(1, 320, 240)


def test_davis_dictionary_gives_one_annotation_a_frame():
    given = {"sequence": "x", "scribbles": [[], [line(), line(0)], [], [line(2)]]}
    first, second = annotations_from_davis(given, num_frames=4, object_ids=[1, 2])
    assert (first.frame, second.frame) == (1, 3)
    assert first.object_ids == {0, 1} and not first.is_empty
    np.testing.assert_array_equal(second.scribbles[0].points, [[0.1, 0.2], [0.3, 0.4]])


def test_davis_dictionary_of_another_video():
    with pytest.raises(UserError, match="cover 1 frames, the video has 2"):
        annotations_from_davis({"sequence": "x", "scribbles": [[]]}, num_frames=2)
    with pytest.raises(UserError, match="names object 3"):
        annotations_from_davis({"scribbles": [[line(3)]]}, num_frames=1, object_ids=[1])
    with pytest.raises(UserError, match='"path"'):
        annotations_from_davis({"scribbles": [[{"object_id": 1}]]}, num_frames=1)
    with pytest.raises(UserError, match="dictionary"):
        annotations_from_davis([], num_frames=1)


def test_an_empty_path_is_no_stroke():
    assert annotations_from_davis({"scribbles": [[line(path=())]]}, num_frames=1) == []
    assert FrameAnnotation(0).is_empty
