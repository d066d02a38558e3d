"""Several processes on one run: each takes its share of a step's clips, gradients are added up.

Explicit all-reduce instead of DistributedDataParallel: a pass calls the network's parts in an order that depends on the
clip, which DDP's hooks do not allow, and the step's result is the same for any number of processes.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, distributed, nn


@dataclass(frozen=True)
class Processes:
    """This process's place among those of the run."""

    rank: int = 0
    count: int = 1

    @classmethod
    def start(cls, device: torch.device) -> Processes:
        """Join the other processes if `torchrun` started this one, else be alone."""
        count = int(os.environ.get("WORLD_SIZE", "1"))
        if count == 1:
            return cls()
        distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
        return cls(distributed.get_rank(), count)

    @property
    def is_first(self) -> bool:
        """Whether this process writes files."""
        return self.rank == 0

    def stop(self) -> None:
        """Leave the group."""
        if self.count > 1:
            distributed.destroy_process_group()

    def add_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace every gradient by the sum over processes; one message for all."""
        if self.count == 1:
            return
        parameters = list(parameters)
        for p in parameters:
            if p.grad is None:
                p.grad = torch.zeros_like(p)
        flat = torch.cat([p.grad.reshape(-1) for p in parameters])
        distributed.all_reduce(flat)
        for p, part in zip(parameters, flat.split([p.numel() for p in parameters])):
            p.grad.copy_(part.view_as(p))

    def same_weights(self, parameters: Iterable[Tensor]) -> None:
        """Give every process the first one's weights."""
        if self.count > 1:
            for p in parameters:
                distributed.broadcast(p.data, 0)

    def add(self, values: Tensor) -> Tensor:
        """Sum of a tensor over processes."""
        if self.count > 1:
            distributed.all_reduce(values)
        return values
