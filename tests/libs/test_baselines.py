"""The two baselines: strokes become masks, masks follow what moves, and the segmenter drives them like networks."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from dataset_torch.frames import ArrayFrames
from libs.baselines.confidence import confidence, hard_logit
from libs.baselines.grabcut_flow import GrabCutFlow, box_around, cut_out, warp_masks, with_rivals
from libs.baselines.label_propagation import LabelPropagation, PropagationSettings, near, quarters
from libs.interactions import FrameAnnotation, Scribble
from libs.segmenter import Segmenter, SegmenterOptions
from networks.compact.backbone import EfficientNetLite0

HEIGHT, WIDTH = 96, 128


def moving_disc(num_frames: int = 4, *, step: int = 4) -> tuple[ArrayFrames, np.ndarray]:
    """A textured orange disc over textured blue; frames and masks."""
    generator = np.random.default_rng(0)
    noise = [cv2.GaussianBlur(generator.normal(0, 60, (HEIGHT, 2 * WIDTH, 3)), (0, 0), 2) for _ in range(2)]
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    frames, masks = [], []
    for t in range(num_frames):
        mask = (x - 45 - step * t) ** 2 + (y - 48) ** 2 < 22**2
        disc = np.array([230, 130, 30]) + noise[0][:, WIDTH - step * t : 2 * WIDTH - step * t]
        ground = np.array([40, 70, 160]) + noise[1][:, :WIDTH]
        frames.append(np.where(mask[..., None], disc, ground).clip(0, 255))
        masks.append(mask)
    return ArrayFrames(np.stack(frames).astype(np.uint8)), np.stack(masks).astype(np.uint8)


def disc_strokes(frame: int, center: float) -> FrameAnnotation:
    """A cross over the disc."""
    across = np.array([[(center - 15) / WIDTH, 0.5], [(center + 15) / WIDTH, 0.5]])
    down = np.array([[center / WIDTH, 33 / HEIGHT], [center / WIDTH, 63 / HEIGHT]])
    return FrameAnnotation(frame, (Scribble(1, across), Scribble(1, down)))


def intersection_over_union(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / (a | b).sum())


@pytest.fixture(scope="module")
def backbone() -> EfficientNetLite0:
    torch.manual_seed(0)
    return EfficientNetLite0()


def test_the_score_falls_where_the_foreground_is_unsure():
    sure = torch.zeros(1, 1, 4, 4)
    sure[..., :2] = 1
    unsure = sure * 0.5
    assert float(confidence(sure)[0]) == pytest.approx(8 / 8.1)
    assert float(confidence(unsure)[0]) == 0
    two = torch.cat([sure, 1 - 0.25 * sure])  # the second object is surely nowhere unsure but half sure on the left
    assert confidence(two)[1][0, 0, 0].tolist() == [0.5, 0.5, 1, 1]


def test_hard_logit_gives_the_mask_back_within_its_certainty():
    mask = torch.tensor([0.0, 0.3, 1.0])
    assert torch.sigmoid(hard_logit(mask)).numpy() == pytest.approx(mask.numpy(), abs=4e-4)


def test_the_box_around_strokes_has_a_margin_and_stays_inside():
    stroked = np.zeros((100, 100), bool)
    stroked[5, 20:61] = True  # 41 wide: a margin of 12, the least, since a fifth is 8
    rows, columns = box_around(stroked)
    assert (rows.start, rows.stop, columns.start, columns.stop) == (0, 18, 8, 73)
    assert stroked[box_around(np.zeros_like(stroked))].size == 0


def test_grabcut_finds_the_object_around_its_strokes():
    frames, masks = moving_disc(1)
    bgr = np.ascontiguousarray(frames.read(0)[:, :, ::-1])
    positive = np.zeros((HEIGHT, WIDTH), np.float32)
    positive[46:51, 30:60] = positive[33:63, 43:48] = 1
    found = cut_out(bgr, np.full_like(positive, 0.5), positive, np.zeros_like(positive))
    assert intersection_over_union(found, masks[0] > 0) > 0.95


def test_grabcut_without_anything_to_learn_from_keeps_the_previous_mask():
    nothing = np.zeros((HEIGHT, WIDTH), np.float32)
    bgr = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    assert not cut_out(bgr, nothing + 0.5, nothing, nothing).any()
    assert not cut_out(bgr, nothing, nothing, nothing).any()
    everything = cut_out(bgr, nothing + 1, nothing, nothing)
    assert everything.all()


def test_masks_are_sampled_where_the_flow_points():
    masks = np.arange(12, dtype=np.float32).reshape(1, 3, 4)
    flow = np.zeros((3, 4, 2), np.float32)
    flow[..., 0] = 1
    assert warp_masks(masks, flow)[0].tolist() == [[1, 2, 3, 3], [5, 6, 7, 7], [9, 10, 11, 11]]


def test_grabcut_and_flow_follow_a_moving_object():
    frames, masks = moving_disc()
    segmenter = Segmenter(GrabCutFlow(), options=SegmenterOptions())
    session = segmenter.open(frames, object_ids=[1])
    segmenter.annotate(session, disc_strokes(0, 45))
    scores = [result.score for result in segmenter.propagate(session)]
    quality = [intersection_over_union(a == 1, b == 1) for a, b in zip(session.masks(), masks, strict=True)]
    assert min(quality) > 0.85
    assert all(0 < score <= 1 for score in scores)


def test_quarters_are_the_means_of_a_cells_quarters():
    mask = torch.zeros(1, 1, 8, 16)
    mask[..., :4, 4:8] = 1  # upper right quarter of the first cell
    mask[..., 4:, 8:10] = 1  # half of the lower left quarter of the second
    assert quarters(mask)[0, :, 0].t().tolist() == [[0, 1, 0, 0], [0, 0, 0.5, 0]]


def test_rivals_strokes_count_as_negative():
    planes = np.zeros((2, 3, 1, 3), np.float32)
    planes[0, 1, 0] = 1, 0, 0
    planes[1, 1, 0] = 0, 0.5, 0
    planes[1, 2, 0] = 0, 0, 1
    assert with_rivals(planes)[:, 2, 0].tolist() == [[0, 0.5, 0], [1, 0, 1]]
    assert np.array_equal(with_rivals(planes)[:, :2], planes[:, :2])


def test_near_is_a_square_window():
    inside = near(3, 4, 1, torch.device("cpu"))
    assert inside[0].nonzero()[:, 0].tolist() == [0, 1, 4, 5]
    assert (inside == inside.t()).all()


def test_label_propagation_copies_labels_to_an_equal_frame(backbone):
    frames, masks = moving_disc(1)
    network = LabelPropagation(backbone, PropagationSettings(top_k=1)).eval()
    pixels = torch.from_numpy(frames.read(0).astype(np.float32)).permute(2, 0, 1)[None] / 127.5 - 1
    with torch.inference_mode():
        features, again = network.encode_frame(pixels), network.encode_frame(pixels)
        label = torch.from_numpy(masks[:1, None].astype(np.float32))
        entry = network.memorise(features, network.interact(pixels, features, _planes_of(masks[0])))
        output = network.propagate(again, features, label, [entry])
    # Carried as quarters of 8-pixel cells and enlarged again: the border is blurred, nothing more.
    assert intersection_over_union((output.foreground[0, 0] > 0.5).numpy(), masks[0] > 0) > 0.93
    assert 0 < float(output.score) < 1


def _planes_of(mask: np.ndarray) -> torch.Tensor:
    """Interaction planes of a finished previous mask without strokes."""
    planes = torch.zeros(1, 3, *mask.shape)
    planes[:, 0] = torch.from_numpy(mask.astype(np.float32))
    return planes


def test_label_propagation_keeps_the_previous_mask_far_from_strokes(backbone):
    frames, masks = moving_disc(1)
    network = LabelPropagation(backbone).eval()
    pixels = torch.from_numpy(frames.read(0).astype(np.float32)).permute(2, 0, 1)[None] / 127.5 - 1
    planes = _planes_of(masks[0])
    planes[:, 2, 4:7, 100:120] = 1  # a negative stroke in the far corner
    with torch.inference_mode():
        found = network.interact(pixels, network.encode_frame(pixels), planes).foreground[0, 0].numpy()
    assert intersection_over_union(found > 0.5, masks[0] > 0) > 0.97


def test_label_propagation_plays_rounds(backbone):
    frames, masks = moving_disc()
    network = LabelPropagation(backbone)
    segmenter = Segmenter(network, options=SegmenterOptions())
    session = segmenter.open(frames, object_ids=[1])
    for frame, center in ((0, 45), (3, 57)):
        segmenter.annotate(session, disc_strokes(frame, center))
        for _ in segmenter.propagate(session):
            pass
    stroked = session.mask(0)[48, 32:58]
    assert (stroked == 1).all()  # strokes are never doubted
    assert (session.mask(0)[:10, :10] == 0).all()
    assert np.isfinite(session.scores).all()
