"""Validation: which clips, which frame first, which figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dataset_torch.clip import Clip
from dataset_torch.errors import UserError
from dataset_torch.masks import write_mask
from dataset_torch.synthetic.shards import pack_clip
from libs import metrics
from libs.interactions import FrameAnnotation
from libs.simulated_user import annotate
from libs.training import validation
from libs.training.data import VALIDATION_FRAMES, validation_clips
from libs.training.samples import clearest_frame
from libs.training.validation import validate_clips
from networks.compact import CompactGIS
from tests.dataset_torch.toy_material import picture, write_image
from tests.libs.training.toys import square_clip


def areas_clip(areas: list[list[int]]) -> Clip:
    """Objects 1, 2, .. (rows) with so many pixels in every frame (columns)."""
    masks = np.zeros((len(areas[0]), 40, 100), np.uint8)
    for row, counts in enumerate(areas):
        for frame, count in enumerate(counts):
            masks[frame, 10 * row : 10 * row + 10].reshape(-1)[:count] = row + 1
    return Clip(np.zeros((*masks.shape, 3), np.uint8), masks, tuple(range(1, len(areas) + 1)), "areas")


def test_the_first_frame_is_the_one_whose_smallest_object_is_largest() -> None:
    assert clearest_frame(areas_clip([[900, 200, 100, 800], [60, 180, 300, 0]])) == (1, [1, 2])
    # Never together: the one that is seen best; the other one does not count.
    assert clearest_frame(areas_clip([[200, 0, 0], [0, 40, 300]])) == (2, [2])
    assert clearest_frame(areas_clip([[50, 0, 10]])) == (0, [])


def test_a_set_in_which_nothing_can_be_stroked_is_refused_at_the_start(tmp_path: Path) -> None:
    tiny = areas_clip([[20, 0, 0]])
    (tmp_path / "0000-000000.npz").write_bytes(pack_clip(tiny))
    with pytest.raises(UserError, match="1 no object large enough"):
        validation_clips(f"clips:{tmp_path}", 3)
    with pytest.raises(UserError, match="none of the 1 clips"):
        validate_clips(CompactGIS(), [tiny])
    (tmp_path / "0000-000001.npz").write_bytes(pack_clip(square_clip(1)))
    (clip,) = validation_clips(f"clips:{tmp_path}", 3)
    assert (clip.masks == square_clip(1).masks).all()


def write_davis(root: Path, videos: dict[str, int]) -> None:
    """Videos of so many frames with four objects at a larger size than is validated at; `a` is for training."""
    mask = np.zeros((500, 640), np.uint8)
    for number in range(4):
        mask[100 * number : 100 * number + 80, 50:300] = 3 * number + 1
    mask[400:, 400:] = 255
    for video, length in videos.items():
        for frame in range(length):
            write_image(root / f"JPEGImages/480p/{video}/{frame:05d}.jpg", picture(500, 640, frame))
            write_mask(root / f"Annotations/480p/{video}/{frame:05d}.png", mask)
    (root / "ImageSets/2017").mkdir(parents=True)
    (root / "ImageSets/2017/train.txt").write_text("a\n")


def test_davis_is_validated_on_its_own_list_with_all_objects(tmp_path: Path) -> None:
    write_davis(tmp_path, {"a": 1, "b": VALIDATION_FRAMES + 2, "c": 2})
    with pytest.raises(UserError, match=r"val\.txt is missing"):
        validation_clips(f"davis:{tmp_path}", 8)
    (tmp_path / "ImageSets/2017/val.txt").write_text("b\nc\n")
    first, second = validation_clips(f"davis:{tmp_path}", 8)
    assert (first.name, len(first), second.name, len(second)) == ("b", VALIDATION_FRAMES, "c", 2)
    assert first.frames.shape[1:] == (480, 614, 3) and first.object_ids == second.object_ids == (1, 4, 7, 10)


def test_the_score_is_the_area_of_j_and_f(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CompactGIS, "preferred_short_side", 64)
    seen = []

    def noted(truth: np.ndarray, found: np.ndarray, ids: list[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        seen.append(metrics.j_and_f(truth, found, ids))
        seen[-1][2][1] -= 0.1  # an untrained network is as bad on every frame
        return seen[-1]

    annotated = []

    def stroked(frame: int, truth: np.ndarray, prediction: np.ndarray | None, *args: Any) -> FrameAnnotation:
        annotated.append((frame, prediction is None))
        return annotate(frame, truth, prediction, *args)

    monkeypatch.setattr(validation, "j_and_f", noted)
    monkeypatch.setattr(validation, "annotate", stroked)
    torch.manual_seed(0)
    outcome = validate_clips(CompactGIS(), [square_clip(3, length=2)], rounds=2)
    assert set(outcome.figures) == {"val_round1", "val_round2", "val_jf1", "val_jf2", "val_rank"}
    (j1, _, both1), (_, _, both2) = seen
    assert outcome.figures["val_round1"] == j1.mean() and outcome.figures["val_jf2"] == both2.mean()
    assert outcome.score == pytest.approx((both1.mean() + both2.mean()) / 2)
    assert annotated == [(0, True), (1, False)]  # then the worst frame, where what the network says is corrected
