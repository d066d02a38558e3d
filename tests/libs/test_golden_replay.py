"""The golden evaluation loop, replayed forced: the recorded scribbles and previous masks of every round go in.

Allowed against the recording (tests/data/golden says why): 8 mask pixels a round over all frames, 1e-6 in every
R-score, 3e-5 in the probabilities (2.3e-5 of noise plus what packing them as 16-bit numbers adds).
"""

import copy

import numpy as np
import pytest
import torch

from dataset_torch.frames import ImageFolder
from libs.interactions import FrameAnnotation, Scribble
from libs.segmenter import Segmenter, SegmenterOptions
from networks.inference import prepare_for_inference
from tests.golden import FOLDER, golden_json, loop_scribbles

CASES = [
    pytest.param("RS4_J_AND_F", "gold-one", 8, id="RS4-one"),
    pytest.param("RS1_J_AND_F", "gold-three", 3, id="RS1-three"),
    pytest.param("wo_RS_J", "gold-two", 2, id="wo_RS-two"),
    *[
        pytest.param(configuration, sequence, 8, marks=pytest.mark.slow, id=f"{configuration}-{sequence}")
        for configuration in ("wo_RS_J", "wo_RS_J_AND_F", "RS1_J_AND_F", "RS4_J_AND_F")
        for sequence in ("gold-one", "gold-three", "gold-two")
    ],
]


@pytest.mark.parametrize("configuration, sequence, num_rounds", CASES)
def test_replay(golden_network, configuration, sequence, num_rounds):
    replay(golden_network, configuration, sequence, num_rounds)


def test_replay_as_the_evaluations_run_it(golden_network):
    """With batch norm folded and the faster convolutions; nothing may be bought with a changed result."""
    replay(prepare_for_inference(copy.deepcopy(golden_network)), "RS1_J_AND_F", "gold-three", 2)


def replay(network, configuration, sequence, num_rounds):
    recorded = np.load(FOLDER / "e2e" / f"{configuration}.npz")
    record = golden_json(f"e2e/{configuration}.json")
    masks, scores = recorded[f"{sequence}/masks"], recorded[f"{sequence}/scores"]
    probabilities, planes = recorded[f"{sequence}/prob_strided"], recorded[f"{sequence}/interaction"]
    frames = ImageFolder(FOLDER / "e2e" / "DAVIS" / "JPEGImages" / "480p" / sequence)
    segmenter = Segmenter(network, options=SegmenterOptions.for_network(network, wrap_scribbles=True))
    session = segmenter.open(frames, object_ids=range(1, planes.shape[1] + 1))
    rounds = record["sequences"][sequence]["rounds"][:num_rounds]
    for index, (expected, (frame, lines)) in enumerate(
        zip(rounds, loop_scribbles(configuration, sequence), strict=False)
    ):
        # With random weights one flipped pixel would change all that follows: the previous masks are forced.
        session.working_mask = lambda frame, index=index: masks[index - 1][frame] if index else None
        strokes = tuple(Scribble(line["object_id"], np.array(line["path"])) for line in lines)
        annotation = FrameAnnotation(frame, strokes)
        drawn = segmenter._planes(session, annotation, *segmenter._earlier_mask(session, annotation))
        np.testing.assert_allclose(drawn[:, 1:], planes[index], atol=1e-6)
        segmenter.annotate(session, annotation)
        visits = segmenter.frames_to_visit(session)
        backward, forward = [f for f in visits if f < frame], [f for f in visits if f > frame]
        assert [frame, *backward, frame, *forward] == expected["prop_list"] and visits == (*backward, *forward)
        for _ in segmenter.propagate(session):
            pass
        assert (session.masks() != masks[index]).sum() <= 8
        np.testing.assert_allclose(session.scores, scores[index], atol=1e-6, rtol=0)
        padded = torch.stack([session.padded_probabilities(f) for f in range(len(frames))])
        np.testing.assert_allclose(
            padded.numpy().ravel()[:: record["prob_stride"]], probabilities[index], atol=3e-5, rtol=0
        )
        if record["method"] != "wo_RS":
            assert session.recommend(record["method"]) == expected["candidates"]
