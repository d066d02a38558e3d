"""Rounds where the network is not on the CPU give the masks that they give there."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from libs import checkpoints
from libs.baselines.label_propagation import LabelPropagation
from libs.segmenter import Segmenter, SegmenterOptions
from networks.inference import prepare_for_inference
from networks.interface import GuidedNetwork
from networks.network import GISNet
from tests.another_device import another_device
from tests.fakes import squares_video
from tests.libs.test_segmenter import annotation


def published() -> GuidedNetwork:
    torch.manual_seed(0)
    return prepare_for_inference(GISNet())


def compact() -> GuidedNetwork:
    return prepare_for_inference(checkpoints.load_network("compact"))


def labels() -> GuidedNetwork:
    return LabelPropagation(checkpoints.load_network("compact").encoder.backbone).eval()


def two_rounds(network: GuidedNetwork) -> tuple[np.ndarray, np.ndarray]:
    frames, masks = squares_video(height=64, width=96)
    segmenter = Segmenter(network, options=SegmenterOptions.for_network(network, short_side=64))
    session = segmenter.open(frames, object_ids=[1, 2])
    for frame in (2, 4):
        segmenter.annotate(session, annotation(frame, masks))
        for _ in segmenter.propagate(session):
            pass
    return session.masks(), session.scores


@pytest.mark.parametrize("build", [compact, pytest.param(published, marks=pytest.mark.slow), labels])
def test_two_rounds_are_those_of_the_cpu(build: Callable[[], GuidedNetwork]) -> None:
    masks, scores = two_rounds(build())
    with another_device() as device:
        masks_there, scores_there = two_rounds(build().to(device))
    # Paths of the CPU's own round differently, which may turn a pixel.
    assert (masks_there != masks).mean() < 0.01
    np.testing.assert_allclose(scores_there, scores, atol=0.01)
