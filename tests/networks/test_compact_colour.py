"""Colour evidence: what looks like the strokes, whichever colours they have."""

from __future__ import annotations

import torch
from torch import Tensor

from networks.compact.colour import LIMIT, MOST_STROKED, ColourEvidence


def picture() -> Tensor:
    """1 x 3 x 8 x 12 cells: left half red, right half blue."""
    colour = torch.zeros(1, 3, 8, 12)
    colour[:, 0, :, :6] = 1
    colour[:, 2, :, 6:] = 1
    return colour


def stroked(objects: int = 1) -> Tensor:
    """O x 3 x 32 x 48: nothing known yet; a positive stroke on red, a negative one on blue."""
    planes = torch.zeros(objects, 3, 32, 48)
    planes[0, 1, 12:16, 4:12] = 1
    planes[0, 2, 12:16, 36:44] = 1
    return planes


@torch.no_grad()
def test_pixels_of_the_strokes_colour_are_favoured() -> None:
    maps = ColourEvidence()(picture(), stroked())
    assert maps.shape == (1, ColourEvidence.channels, 8, 12)
    by_colour, before = maps[0, 0], maps[0, 2]
    assert (by_colour[:, :6] > 1).all() and (by_colour[:, 6:] < -1).all()
    assert by_colour.abs().max() <= LIMIT / 2
    assert not before.any(), "there is no previous mask"
    near, far = maps[0, 3, 3, 1], maps[0, 3, 0, 5]
    assert near > far > 0, "the second kernel also asks how near the stroke is"


@torch.no_grad()
def test_the_previous_mask_is_a_colour_model_too() -> None:
    planes = torch.zeros(1, 3, 32, 48)
    planes[:, 0] = -1
    planes[:, 0, :, :24] = 1  # the mask is the red half
    maps = ColourEvidence()(picture(), planes)
    assert (maps[0, 2, :, :6] > 1).all() and (maps[0, 2, :, 6:] < -1).all()
    assert not maps[0, 0].any(), "nothing is stroked"


@torch.no_grad()
def test_exchanging_the_strokes_exchanges_the_signs() -> None:
    evidence, planes = ColourEvidence(), stroked()
    straight, swapped = (evidence(picture(), p)[0, [0, 3]] for p in (planes, planes[:, [0, 2, 1]]))
    torch.testing.assert_close(straight, -swapped, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_many_strokes_cost_no_more_than_a_few() -> None:
    colour = torch.rand(1, 3, 64, 64)
    planes = torch.zeros(2, 3, 256, 256)
    planes[0, 1] = 1  # every pixel is stroked
    assert 64 * 64 > MOST_STROKED
    maps = ColourEvidence()(colour, planes)
    assert torch.isfinite(maps).all()


def test_its_widths_can_be_trained() -> None:
    evidence = ColourEvidence()
    evidence(picture() + 0.1 * torch.randn(1, 3, 8, 12), stroked()).square().sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in evidence.parameters())
