"""Messages between processes, with threads in their place."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from dataset_torch.errors import UserError
from libs.training import parallel
from libs.training.engine import Engine
from libs.training.parallel import Processes
from networks.compact import CompactGIS
from tests.libs.training.toys import squares, tiny_recipe

COUNT = 2


class Threads:
    """Stands for `torch.distributed`: threads that add up or hand round what each of them brings."""

    def __init__(self) -> None:
        self._barrier = threading.Barrier(COUNT, timeout=30)
        self._brought: dict[int, object] = {}
        self._rank = threading.local()

    def _exchange(self, brought: object) -> list[object]:
        self._brought[self._rank.value] = brought
        self._barrier.wait()
        everything = [self._brought[rank] for rank in range(COUNT)]
        self._barrier.wait()
        return everything

    def all_reduce(self, tensor: Tensor) -> None:
        tensor.copy_(sum(self._exchange(tensor.clone())))

    def broadcast_object_list(self, box: list, source: int, device: torch.device) -> None:
        box[:] = self._exchange(list(box))[source]

    def run(self, work: Callable[[Processes], object]) -> list[object]:
        """`work` in every thread; what each returned or raised."""
        results: list[object] = [None] * COUNT

        def start(rank: int) -> None:
            self._rank.value = rank
            try:
                results[rank] = work(Processes(rank, COUNT))
            except Exception as error:
                results[rank] = error

        threads = [threading.Thread(target=start, args=(rank,)) for rank in range(COUNT)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return results


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> Threads:
    stand_in = Threads()
    monkeypatch.setattr(parallel, "distributed", stand_in)
    return stand_in


# Which of three parameters every clip of a step has a gradient for: all, some, none.
STEPS = [((0, 1, 2), (0, 1, 2)), ((0,), (0, 1)), ((0,), (0,)), ((), ())]


def learned(processes: Processes) -> list[Tensor]:
    """Three parameters after a few steps of two clips each, shared out over the processes."""
    parameters = [nn.Parameter(torch.tensor([1.0, -2.0])) for _ in range(3)]
    optimiser = torch.optim.AdamW(parameters, lr=0.1, weight_decay=0.1)
    for clips in STEPS:
        optimiser.zero_grad(set_to_none=True)
        for clip in clips[processes.rank :: processes.count]:
            for index in clip:
                (parameters[index] ** 2).sum().backward()
        processes.add_gradients(parameters)
        optimiser.step()
    return [p.detach() for p in parameters]


def test_what_gets_no_gradient_in_any_process_stays_as_it_does_in_one(threads: Threads) -> None:
    alone = learned(Processes())
    for shared in threads.run(learned):
        assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(alone, shared))


def test_the_first_process_reads_for_all(threads: Threads) -> None:
    assert threads.run(lambda processes: processes.from_first(lambda: processes.rank)) == [0, 0]

    def fail(processes: Processes) -> None:
        def make() -> None:
            raise UserError(f"from {processes.rank}")

        processes.from_first(make)

    assert [str(error) for error in threads.run(fail)] == ["from 0", "from 0"]


def test_hosts_without_a_shared_folder_resume_together(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    first = Engine(CompactGIS(), tiny_recipe(), squares(), tmp_path / "first")
    first.state.step, first.state.best = 3, 0.5
    first.save()
    monkeypatch.setattr(parallel.distributed, "broadcast", lambda *_: None)

    def from_first(box: list, source: int, device: torch.device) -> None:
        box[0] = (torch.load(first.folder / "state.pth", weights_only=True), "")

    monkeypatch.setattr(parallel.distributed, "broadcast_object_list", from_first)
    second = Engine(CompactGIS(), tiny_recipe(), squares(), tmp_path / "second", processes=Processes(1, COUNT))
    assert second.resume() and (second.state.step, second.state.best) == (3, 0.5)
    for a, b in zip(first.network.state_dict().values(), second.network.state_dict().values()):
        assert torch.equal(a, b)
