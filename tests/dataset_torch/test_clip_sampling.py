from dataclasses import replace

import numpy as np
import pytest

from dataset_torch import clip_sampling
from dataset_torch.clip import Clip
from dataset_torch.clip_sampling import ClipOptions, change_colours, choose_frames, choose_objects, sample_clip
from tests.dataset_torch.toy_material import picture, two_object_mask

PLAIN = ClipOptions(steps=2, height=90, width=160, flip=0, smallest_crop=1, aspect=1, colour=0, smallest_object=10)


def toy_clip() -> Clip:
    masks = np.stack([two_object_mask()] * 2)
    masks[1] = np.roll(masks[1], 5, axis=1)
    masks[masks == 2] = 7
    return Clip(np.stack([picture(seed=0), picture(seed=1)]), masks, (1, 7), "toy")


def test_a_clip_refuses_contradictions():
    clip = toy_clip()
    with pytest.raises(ValueError, match="hold the ids"):
        Clip(clip.frames, clip.masks, (1, 2))
    with pytest.raises(ValueError, match="hold 255"):
        Clip(clip.frames, np.where(clip.masks == 7, 255, clip.masks), (1, 255))
    with pytest.raises(ValueError, match="masks are"):
        Clip(clip.frames, clip.masks[:, 1:], (1, 7))
    with pytest.raises(ValueError, match="frames are"):
        Clip(clip.frames.astype(np.float32), clip.masks, (1, 7))


def test_frames_are_evenly_spaced():
    strides, firsts = set(), set()
    for seed in range(200):
        rng = np.random.default_rng(seed)
        chosen = choose_frames(rng, 11, 4, 5, reverse=0.5)
        assert chosen.min() >= 0 and chosen.max() <= 10 and len(set(np.diff(chosen))) == 1
        strides.add(int(np.diff(chosen)[0]))
        firsts.add(int(min(chosen)))
    assert strides == {-3, -2, -1, 1, 2, 3}  # (11 - 1) // (4 - 1) = 3 limits the stride
    assert firsts == set(range(8))  # the last ones only at stride 1
    assert choose_frames(np.random.default_rng(0), 4, 4, 5, reverse=1).tolist() == [3, 2, 1, 0]


def test_a_short_video_is_walked_to_and_fro():
    walks = {tuple(choose_frames(np.random.default_rng(s), 3, 5, 2, reverse=0).tolist()) for s in range(40)}
    assert walks == {(0, 1, 2, 1, 0), (1, 2, 1, 0, 1), (2, 1, 0, 1, 2), (1, 0, 1, 2, 1)}
    assert choose_frames(np.random.default_rng(0), 1, 3, 2, reverse=0).tolist() == [0, 0, 0]


def test_nothing_changes_without_augmentation_but_the_numbers():
    clip = toy_clip()
    orders = set()
    for seed in range(20):
        sampled = sample_clip(clip, np.random.default_rng(seed), PLAIN)
        assert (sampled.frames == clip.frames).all()
        for number in sampled.object_ids:
            (old,) = np.unique(clip.masks[sampled.masks == number])
            assert ((clip.masks == old) == (sampled.masks == number)).all()
            orders.add((int(old), number))
    assert orders == {(1, 1), (7, 1), (1, 2), (7, 2)}


def test_flip_mirrors_frames_and_masks_together():
    clip = toy_clip()
    sampled = sample_clip(clip, np.random.default_rng(0), replace(PLAIN, flip=1, most_objects=1))
    assert (sampled.frames == clip.frames[:, :, ::-1]).all()
    old = np.unique(clip.masks[:, :, ::-1][sampled.masks == 1])
    assert len(old) == 1 and ((clip.masks[:, :, ::-1] == old[0]) == (sampled.masks == 1)).all()


def test_crops_hold_an_object_even_if_it_is_small():
    masks = np.zeros((2, 90, 160), np.uint8)
    masks[:, 4:10, 150:158] = 3
    clip = Clip(toy_clip().frames, masks, (3,))
    for seed in range(30):
        options = replace(PLAIN, height=48, width=96, smallest_crop=0.3, aspect=1.3, smallest_object=5)
        sampled = sample_clip(clip, np.random.default_rng(seed), options)
        assert sampled.frames.shape == (2, 48, 96, 3) and sampled.object_ids == (1,)


def test_a_clip_without_object_is_none():
    masks = np.zeros((2, 90, 160), np.uint8)
    masks[0, 40, :9] = 1
    clip = Clip(toy_clip().frames, masks, (1,))
    assert sample_clip(clip, np.random.default_rng(0), PLAIN) is None  # 9 pixels, 10 are needed
    masks[0, 40, :10] = 1
    sampled = sample_clip(clip, np.random.default_rng(0), PLAIN)
    assert (sampled.masks > 0).sum() == 10


def test_three_windows_are_tried_then_the_whole_picture(monkeypatch):
    windows = []
    monkeypatch.setattr(clip_sampling, "choose_objects", lambda *_: ())
    monkeypatch.setattr(clip_sampling, "_cut_ids", lambda mask, window, _: windows.append(window) or mask)
    assert sample_clip(toy_clip(), np.random.default_rng(0), replace(PLAIN, smallest_crop=0.3)) is None
    tried = windows[::2]  # of the first frame
    assert len(set(tried)) == 4 and tried[3] == (0, 0, 90, 160)


def test_at_most_so_many_objects():
    masks = np.repeat(np.arange(6, dtype=np.uint8), 20).reshape(1, 6, 20)
    numbers = [len(choose_objects(np.random.default_rng(s), masks, PLAIN)) for s in range(300)]
    assert set(numbers) == {1, 2, 3}
    assert 170 < numbers.count(3) < 230  # half of the clips, and a third of the others


def test_colours_change_alike_in_all_frames():
    frames = np.stack([picture(seed=0)] * 2)
    assert (change_colours(np.random.default_rng(0), frames, 0) == frames).all()
    changed = change_colours(np.random.default_rng(0), frames, 1)
    assert (changed[0] == changed[1]).all() and np.abs(changed.astype(int) - frames).mean() > 3
