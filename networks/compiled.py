"""`torch.compile` for the parts of a network that run on every frame."""

from __future__ import annotations

from typing import TypeVar

from torch import nn

Network = TypeVar("Network", bound=nn.Module)
ONCE_PER_ROUND = ("interaction", "memoriser")


def compile_network(network: Network) -> Network:
    """Compile the `forward` of every part of the network, in place, except those that run once per round; returns the
    network.  What goes by other methods (reading the annotated frames) stays as it is.

    The first frame of every shape (frame size, number of objects, number of annotated frames) then takes a minute or
    so; later ones are faster by what the fused elementwise steps save.  Needs a C++ compiler on a CPU.  Results change
    by rounding only.
    """
    for name, part in network.named_children():
        if name not in ONCE_PER_ROUND:
            part.compile()
    return network
