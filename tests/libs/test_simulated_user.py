"""The simulated user strokes what is wrong."""

from __future__ import annotations

import numpy as np
import pytest

from libs.interactions import Click
from libs.scribble_maps import scribble_pixels
from libs.simulated_user import ROBOT_STYLE, UserStyle, annotate, draw, error_regions, medial_path

HEIGHT, WIDTH = 60, 100


def truth() -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[20:40, 10:60] = 1
    mask[5:15, 70:95] = 2
    return mask


def test_the_first_round_strokes_every_object_inside_it() -> None:
    for seed in range(12):
        given = annotate(3, truth(), None, [1, 2], np.random.default_rng(seed))
        assert given.frame == 3 and given.object_ids == {1, 2}
        for scribble in given.scribbles:
            x, y = scribble_pixels(scribble, HEIGHT, WIDTH).T
            assert (truth()[y, x] == scribble.object_id).mean() > 0.9
        for click in given.clicks:
            assert truth()[int(click.y * HEIGHT), int(click.x * WIDTH)] == click.object_id


def test_corrections_lie_on_the_errors_with_the_true_id() -> None:
    prediction = truth()
    prediction[20:40, 40:60] = 0  # a part of object 1 is missing
    prediction[45:58, 10:40] = 2  # and this is too much
    given = annotate(0, truth(), prediction, [1, 2], np.random.default_rng(0), ROBOT_STYLE)
    assert sorted(s.object_id for s in given.scribbles) == [0, 1]
    for scribble in given.scribbles:
        x, y = scribble_pixels(scribble, HEIGHT, WIDTH).T
        assert (prediction[y, x] != truth()[y, x]).all()


def test_nothing_wrong_gives_an_empty_annotation() -> None:
    assert annotate(0, truth(), truth(), [1, 2], np.random.default_rng(0)).is_empty


def test_other_ids_count_as_background() -> None:
    given = annotate(0, truth(), np.zeros_like(truth()), [1], np.random.default_rng(0), ROBOT_STYLE)
    assert given.object_ids == {1}


def test_clicks_and_short_strokes() -> None:
    style = UserStyle(medial=0, wobbly=0, short=0, click=1)
    given = annotate(0, truth(), None, [1], np.random.default_rng(0), style)
    assert isinstance(given.clicks[0], Click) and not given.scribbles
    style = UserStyle(medial=0, wobbly=0, short=1, click=0)
    given = annotate(0, truth(), None, [1], np.random.default_rng(0), style)
    assert 1 <= len(given.scribbles[0].points) <= 5


def test_a_click_is_in_the_middle_of_its_pixel() -> None:
    region = np.zeros((HEIGHT, WIDTH), bool)
    region[7, 31] = True
    click = draw(region, 2, np.random.default_rng(0), UserStyle(medial=0, wobbly=0, short=0, click=1))
    assert isinstance(click, Click) and click.object_id == 2
    assert (click.x * WIDTH, click.y * HEIGHT) == pytest.approx((31.5, 7.5))


def test_specks_are_not_worth_a_stroke() -> None:
    wrong = np.zeros((200, 200), bool)
    wrong[10:12, 10:11] = True
    assert error_regions(wrong, UserStyle()) == []
    wrong[50:80, 50:80] = True
    regions = error_regions(wrong, UserStyle())
    assert len(regions) == 1 and regions[0].sum() == 900
    wrong[100:110, 100:111] = True  # large enough, but less than an eighth of the largest
    assert len(error_regions(wrong, UserStyle())) == 1
    wrong[100:110, 111:113] = True
    assert [r.sum() for r in error_regions(wrong, UserStyle())] == [900, 130]


def test_the_medial_path_runs_along_a_bar() -> None:
    bar = np.zeros((9, 41), bool)
    bar[1:8, 1:40] = True
    path = medial_path(bar)
    assert abs(path[0, 1] - path[-1, 1]) > 28 and set(path[5:-5, 0]) == {4}
    assert medial_path(np.ones((1, 1), bool)).tolist() == [[0, 0]]
