import numpy as np
import pytest

from dataset_torch.synthetic.motion import (
    Deformation,
    Hinge,
    ThinPlate,
    away_and_back,
    log_uniform,
    random_deformation,
    travel,
    wander,
)


def test_curves_keep_their_promises():
    for seed in range(20):
        rng = np.random.default_rng(seed)
        assert np.abs(wander(rng, 9)).max() == pytest.approx(1)
        way = travel(rng, 9)
        assert way[0] == 0 and way[-1] == 1 and (np.diff(way) >= 0).all()
        away = away_and_back(rng, 40)
        assert 0 <= away.min() and away.max() > 0.9 and min(away[0], away[-1]) < 0.35
        assert 0.5 <= log_uniform(rng, 0.5, 3) <= 3


def test_thin_plate_is_exact_at_its_control_points_and_shifts_as_a_whole():
    control = np.array([[0.0, 0], [1, 0], [0, 1], [1, 1], [0.5, 0.4]])
    pull = np.random.default_rng(0).normal(0, 0.1, (2, 5, 2))
    plate = ThinPlate(control, pull)
    for step in range(2):
        x, y = plate.backward(control[:, 0], control[:, 1], step)
        assert np.allclose(np.stack([x, y], 1), control + pull[step])
    shifted = ThinPlate(control, np.tile([0.25, -0.5], (1, 5, 1)))
    x, y = shifted.backward(np.array([[3.0, -2.0]]), np.array([[0.2, 7.0]]), 0)
    assert np.allclose(x, [[3.25, -1.75]]) and np.allclose(y, [[-0.3, 6.5]])


def test_a_hinge_turns_what_is_beyond_it_and_leaves_the_rest():
    quarter = np.full(1, np.pi / 2)
    hinge = Hinge(np.array([1.0, 0.0]), np.array([1.0, 0.0]), 0.5, quarter)
    x, y = Deformation(hinges=[hinge]).backward(np.array([0.0, 2.0]), np.array([0.3, 0.0]), 0)
    # (0, .3) lies before the line x = 1; (2, 0) is 1 beyond, past the soft zone, and turns by 90 degrees about (1, 0)
    assert np.allclose(x, [0, 1]) and np.allclose(y, [0.3, 1])


def test_random_deformations_do_not_fold():
    grid = np.linspace(-0.6, 0.6, 41)
    x, y = np.meshgrid(grid, grid)
    for seed in range(30):
        rng = np.random.default_rng(seed)
        deformation = random_deformation(rng, 4, (0.6, 0.6), strength=0.09, hinges=0, swing=False)
        u, v = deformation.backward(x, y, 3)
        area = np.gradient(u, axis=1) * np.gradient(v, axis=0) - np.gradient(u, axis=0) * np.gradient(v, axis=1)
        assert area.min() > 0
