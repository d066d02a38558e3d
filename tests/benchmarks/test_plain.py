"""The plain transcription and the segmenter agree: this is what every figure of the benchmark rests on."""

from __future__ import annotations

import copy

import numpy as np
import pytest

from libs.segmenter import Segmenter
from networks.inference import prepare_for_inference
from tests.benchmarks.plain import PlainNetwork, PlainSession
from tests.benchmarks.scenes import Discs


@pytest.mark.parametrize("objects", [1, 3])
def test_the_segmenter_gives_the_plain_computations_masks(golden_network, objects):
    frames = Discs(4, 40, 64, objects)
    ids = range(1, objects + 1)
    plain = PlainSession(PlainNetwork(golden_network.state_dict()), frames, ids)
    segmenter = Segmenter(prepare_for_inference(copy.deepcopy(golden_network)))
    session = segmenter.open(frames, object_ids=ids)
    for frame in (1, 3, 1):
        plain.annotate(frames.strokes(frame))
        segmenter.annotate(session, frames.strokes(frame))
        for _ in segmenter.propagate(session):
            pass
        ours, expected = session.masks(), plain.masks()
        assert (ours == expected).mean() >= 0.999
        assert len(np.unique(expected)) > 1
        np.testing.assert_allclose(session.scores, plain.scores, atol=1e-4)
    assert not np.isnan(plain.scores).any()
