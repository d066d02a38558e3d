"""A device that is not the CPU, for machines that have none: what would fail on a GPU fails here, too.

    with another_device() as device:
        network.to(device)                # parameters now live there
        network(torch.zeros(1, 3, 64, 64))    # RuntimeError: all tensors have to be on one device

Tensors there are wrappers around tensors of the CPU that do the work, so results are right.  As on a GPU, an operation
takes tensors of one device only (but for numbers without dimensions, and indices), NumPy reads none of them, and, as on
Apple's, there is no float64.  PyTorch's device `meta` lends the name: any other one needs a driver.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.utils import _pytree as tree
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

DEVICE = torch.device("meta")
MOVES = ("aten::_to_copy", "aten::copy_", "aten::_local_scalar_dense")
INDEXED = ("aten::index", "aten::index_put", "aten::index_put_", "aten::_index_put_impl_")


class Elsewhere(Tensor):
    """A tensor of the other device."""

    inner: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, inner: Tensor) -> Elsewhere:
        if inner.dtype == torch.float64:
            raise TypeError("there is no float64 on this device")
        return Tensor._make_wrapper_subclass(
            cls,
            inner.size(),
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            device=DEVICE,
            requires_grad=inner.requires_grad,
        )

    def __init__(self, inner: Tensor) -> None:
        self.inner = inner.detach()

    def __repr__(self) -> str:  # type: ignore[override]
        return f"Elsewhere({self.inner})"

    def tolist(self) -> Any:
        return self.inner.tolist()

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self.inner.__reduce_ex__(protocol)  # a file of it is read with map_location="cpu"

    def __getitem__(self, index: Any) -> Tensor:
        return super().__getitem__(_no_lists(index))

    def __setitem__(self, index: Any, value: Any) -> None:
        super().__setitem__(_no_lists(index), value)

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        return _run(func, args, kwargs or {})


def _no_lists(index: Any) -> Any:
    """The index with every list as a tensor: PyTorch would make it on `meta`."""
    if isinstance(index, list):
        return torch.tensor(index)
    return tuple(_no_lists(part) for part in index) if isinstance(index, tuple) else index


class _Everything(TorchDispatchMode):
    """Sees operations that no tensor of the device takes part in: those that make one."""

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        return _run(func, args, kwargs or {})


@contextmanager
def another_device() -> Iterator[torch.device]:
    """While it lasts, tensors can be made on the device that it yields."""
    # Of data given as numbers PyTorch makes nothing on `meta`, and what casts automatically does not know the name.
    changed = {name: _made_elsewhere(getattr(torch, name)) for name in ("tensor", "as_tensor")}
    changed |= {n: _renamed(getattr(torch, n)) for n in ("autocast", "is_autocast_enabled", "get_autocast_dtype")}
    changed["inference_mode"] = torch.no_grad  # wrappers cannot be told that they need no version
    with _Everything(), mock.patch.multiple(torch, **changed):
        yield DEVICE


def _made_elsewhere(make: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def on(data: Any, *, device: torch.device | str | None = None, **settings: Any) -> Tensor:
        made = make(data, **settings)
        return made if device is None else made.to(device)

    return on


def _renamed(function: Callable[..., Any]) -> Callable[..., Any]:
    def renamed(device_type: str, *rest: Any, **settings: Any) -> Any:
        return function("cpu" if device_type == DEVICE.type else device_type, *rest, **settings)

    return renamed


def _run(func: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
    name = func._schema.name
    given = tree.arg_tree_leaves(*args, **kwargs)
    there = [t for t in given if isinstance(t, Elsewhere)]
    if there and name not in MOVES:
        _check(name, args[:1] + args[2:] if name in INDEXED else args, kwargs)
    goes = bool(there) if name != "aten::copy_" else isinstance(args[0], Elsewhere)
    if kwargs.get("device") is not None:
        goes = torch.device(kwargs["device"]) == DEVICE
        kwargs = {**kwargs, "device": torch.device("cpu")}
    plain_args, plain_kwargs = tree.tree_map_only(Elsewhere, lambda t: t.inner, (args, kwargs))
    with _disable_current_modes():
        result = func(*plain_args, **plain_kwargs)
    if not goes:
        return result
    changed = {id(t.inner): t for t in there}  # what works in place gives back the tensor that it was given
    return tree.tree_map_only(Tensor, _wrapped(changed), result)


def _wrapped(known: dict[int, Elsewhere]) -> Callable[[Tensor], Tensor]:
    return lambda t: known[id(t)] if id(t) in known else Elsewhere(t)


def _check(name: str, *parts: Any) -> None:
    together = ("aten::cat", "aten::stack")  # these take no numbers of another device either
    for t in tree.tree_leaves(parts):
        if isinstance(t, Tensor) and not isinstance(t, Elsewhere) and (t.dim() or name in together):
            raise RuntimeError(f"all tensors have to be on one device: {name} has {tuple(t.shape)} of the CPU")
