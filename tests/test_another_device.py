"""The stand-in for a GPU refuses what a GPU refuses, and computes what the CPU computes."""

from __future__ import annotations

import pytest
import torch

from tests.another_device import another_device


def test_it_computes_what_the_cpu_computes() -> None:
    torch.manual_seed(0)
    layer, x = torch.nn.Conv2d(3, 4, 3), torch.randn(1, 3, 8, 8)
    expected = layer(x)
    expected.square().sum().backward()
    gradient = layer.weight.grad
    layer.weight.grad = None
    with another_device() as device:
        moved = layer.to(device)
        found = moved(x.to(device))
        found.square().sum().backward()
        assert moved.weight.device == found.device == device
        assert torch.equal(found.detach().cpu(), expected.detach())
        assert torch.allclose(moved.weight.grad.cpu(), gradient)


def test_numbers_indices_and_changes_in_place_are_taken() -> None:
    with another_device() as device:
        x = torch.zeros(4, device=device)
        x[1:] += 2 * torch.tensor(1.5)
        x[[0, 3]] = torch.tensor([7.0, 8.0], device=device)
        assert x.tolist() == [7, 3, 3, 8] and x[[1, 3]].tolist() == [3, 8] and float(x.max()) == 8
        assert x[torch.tensor([3])].cpu().numpy().tolist() == [8]


@pytest.mark.parametrize("there_first", [False, True])
def test_two_devices_do_not_mix(there_first: bool) -> None:
    with another_device() as device:
        here, there = torch.ones(3), torch.ones(3, device=device)
        pair = (there, here) if there_first else (here, there)
        for operation in (
            torch.add,
            torch.dot,
            lambda a, b: torch.where(a > 0, a, b),
            lambda a, b: torch.stack([a, b]),
        ):
            with pytest.raises(RuntimeError, match="one device"):
                operation(*pair)
        with pytest.raises(RuntimeError, match="one device"):
            torch.stack([torch.ones(()), there.sum()])


def test_numpy_and_float64_are_of_the_cpu() -> None:
    with another_device() as device:
        with pytest.raises((RuntimeError, TypeError)):
            torch.ones(3, device=device).numpy()
        with pytest.raises(TypeError, match="float64"):
            torch.ones(3, dtype=torch.float64).to(device)
