from __future__ import annotations

import numpy as np
import pytest

from dataset_torch.errors import UserError
from libs.app.marks import erase, mark_from_json, mark_to_json
from libs.interactions import Click, Scribble


def test_eraser_cuts_a_stroke_in_two_and_leaves_others_alone():
    line = Scribble(1, np.array([[0.0, 0.5], [1.0, 0.5]]))
    far = Scribble(2, np.array([[0.0, 0.1], [1.0, 0.1]]))
    left = erase([line, far, Click(1, 0.5, 0.5)], np.array([[0.5, 0.4], [0.5, 0.6]]), 0.05, aspect=0.5)
    assert len(left) == 3 and left[2] is far
    assert left[0].points[:, 0].min() == 0 and 0.43 <= left[0].points[:, 0].max() <= 0.451
    assert 0.549 <= left[1].points[:, 0].min() <= 0.57 and left[1].points[:, 0].max() == 1


def test_eraser_is_round_on_screen():
    # A frame twice as wide as high: 0.1 of the width is 0.2 of the height.
    mark = Click(1, 0.5, 0.5)
    assert erase([mark], np.array([[0.5, 0.69]]), 0.1, aspect=0.5) == ()
    assert erase([mark], np.array([[0.5, 0.71]]), 0.1, aspect=0.5) == (mark,)


def test_locked_marks_stay():
    mark = Click(1, 0.5, 0.5)
    assert erase([mark], np.array([[0.5, 0.5]]), 0.1, aspect=1, keep_ids=[1]) == (mark,)


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        {},
        {"kind": "star", "object_id": 1, "points": [[0, 0]]},
        {"kind": "stroke", "object_id": "1", "points": [[0, 0]]},
        {"kind": "stroke", "object_id": True, "points": [[0, 0]]},
        {"kind": "stroke", "object_id": 1, "points": []},
        {"kind": "stroke", "object_id": 1, "points": [[0, 0, 0]]},
        {"kind": "stroke", "object_id": 1, "points": [["a", 0]]},
        {"kind": "stroke", "object_id": 1, "points": [[0, 1.5]]},
        {"kind": "stroke", "object_id": 1, "points": [[0, float("nan")]]},
        {"kind": "stroke", "object_id": 1, "points": [[0, 0]] * 20_001},
        {"kind": "click", "object_id": 1, "points": [[0, 0], [1, 1]]},
    ],
)
def test_nonsense_is_refused_in_words(data):
    with pytest.raises(UserError):
        mark_from_json(data)


def test_marks_survive_json():
    stroke = Scribble(3, np.array([[0.1, 0.2], [1 / 3, 0.4]]))
    again = mark_from_json(mark_to_json(stroke))
    assert again.object_id == 3 and (again.points == stroke.points).all()
    assert mark_from_json(mark_to_json(Click(0, 0.25, 1))) == Click(0, 0.25, 1)
