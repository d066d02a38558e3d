from __future__ import annotations

import torch

from libs.app.locks import keep_locked


def random_probabilities(seed: int) -> torch.Tensor:
    return torch.softmax(3 * torch.randn(4, 30, 40, generator=torch.Generator().manual_seed(seed)), dim=0)


def test_where_a_locked_object_wins_does_not_change():
    old, new = random_probabilities(0), random_probabilities(1)
    merged = keep_locked(old, new, [5, 7, 9], [7])
    assert torch.equal(merged.argmax(dim=0) == 2, old.argmax(dim=0) == 2)
    torch.testing.assert_close(merged.sum(dim=0), torch.ones(30, 40))
    torch.testing.assert_close(merged[2], old[2])
    # Elsewhere the others follow the new prediction.
    free = (old.argmax(dim=0) != 2) & (merged.argmax(dim=0) != 2) & (old[2] < 0.01)
    others = new[[0, 1, 3]] / new[[0, 1, 3]].sum(dim=0)
    agree = (others.argmax(dim=0) == merged[[0, 1, 3]].argmax(dim=0))[free]
    assert agree.float().mean() > 0.99


def test_nothing_locked_changes_nothing():
    old, new = random_probabilities(0), random_probabilities(1)
    assert keep_locked(old, new, [5, 7, 9], []) is new
