import numpy as np
import pytest

from dataset_torch.synthetic.layers import CELL, Layer, densify, draw, line_kernel, node_grid


def square_layer(left: float, top: float, *, ids=(3,), steps: int = 1) -> Layer:
    """A square of 10 x 10 opaque pixels in a texture of 16 x 16, its first opaque pixel drawn at (left, top)."""
    texture = np.zeros((16, 16, 4), np.uint8)
    texture[..., 0] = 200
    texture[3:13, 3:13, 3] = 255
    parts = np.zeros((16, 16), np.uint8)
    parts[3:13, 3:8], parts[3:13, 8:13] = 1, 2
    pose = np.array([[10.0, 0, left - 3 + 7.5], [0, 10.0, top - 3 + 7.5], [0, 0, 1]])
    return Layer(texture, parts, 10.0, np.tile(pose, (steps, 1, 1)), ids)


def full_mask(layer: Layer, height: int = 40, width: int = 60) -> np.ndarray:
    mask = np.zeros((height, width), np.uint8)
    patch = draw(layer, 0, height, width)
    mask[patch.window] = np.where(patch.opacity > 0.5, patch.ids, 0)
    return mask


def test_a_square_lands_where_its_pose_says():
    expected = np.zeros((40, 60), np.uint8)
    expected[12:22, 20:30] = 3
    assert (full_mask(square_layer(20, 12)) == expected).all()
    expected[...] = 0
    expected[12:22, 0:6] = 3
    assert (full_mask(square_layer(-4, 12)) == expected).all()


def test_parts_become_their_own_ids():
    mask = full_mask(square_layer(20, 12, ids=(5, 0)))
    assert (mask[12:22, 20:25] == 5).all() and (mask[:, 25:] == 0).all()


def test_what_is_outside_the_frame_is_not_drawn():
    assert draw(square_layer(100, 12), 0, 40, 60) is None


def test_blur_spreads_colour_but_keeps_its_sum():
    sharp, blurred = square_layer(20, 12), square_layer(20, 12)
    blurred.blur = np.array([[6.0, 0.0]])
    first, second = draw(sharp, 0, 40, 60), draw(blurred, 0, 40, 60)
    assert second.opacity.sum() == pytest.approx(first.opacity.sum(), rel=1e-3)
    assert second.opacity.max(0).astype(bool).sum() >= 15  # 10 columns and 3 more on either side
    inside = second.opacity > 0.2
    assert np.allclose(second.colour[inside], [200, 0, 0], atol=2)


def test_spin_keeps_the_outline():
    still, turned = square_layer(20, 12), square_layer(20, 12)
    turned.texture[:, 8:, 1] = 150
    turned.spin = np.array([0.8])
    assert (full_mask(still) == full_mask(turned)).all()
    columns = draw(turned, 0, 40, 60).colour[5, :, 1]
    # turning by .8 brings what is at sin(.8) * 8 = 5.7 pixels right of the middle to the middle: more than half is
    # green
    assert (columns > 75).sum() > 10


def test_densify_reproduces_linear_functions():
    x, y = node_grid(5, -3, 4, 3)
    dense = densify(np.stack([2 * x + 1, x - y], axis=-1), 3 * CELL, 4 * CELL)
    columns, rows = np.meshgrid(np.arange(5, 5 + 4 * CELL), np.arange(-3, -3 + 3 * CELL))
    assert np.allclose(dense[..., 0], 2 * columns + 1, atol=1e-4) and np.allclose(
        dense[..., 1], columns - rows, atol=1e-4
    )


def test_line_kernel():
    assert line_kernel(np.array([0.5, 0.9])) is None
    kernel = line_kernel(np.array([4.0, 0.0]))
    middle = kernel.shape[0] // 2
    assert kernel.sum() == pytest.approx(1) and kernel[middle].sum() == pytest.approx(1)
    assert np.allclose(kernel, kernel[::-1, ::-1]) and (kernel[middle] > 0).sum() == 5
