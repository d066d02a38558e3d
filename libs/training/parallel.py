"""Several processes on one run: each takes its share of a step's clips, gradients are added up.

Explicit all-reduce instead of DistributedDataParallel: a pass calls the network's parts in an order that depends on the
clip, which DDP's hooks do not allow, and the step's result is the same for any number of processes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
from torch import Tensor, distributed, nn

from dataset_torch.errors import UserError

BACKENDS = {"cpu": "gloo", "cuda": "nccl"}
CPU = torch.device("cpu")
Value = TypeVar("Value")
PATIENCE = timedelta(hours=2)  # the others wait while the first process validates


@dataclass(frozen=True)
class Processes:
    """This process's place among those of the run."""

    rank: int = 0
    count: int = 1
    device: torch.device = CPU  # where messages are made

    @classmethod
    def start(cls, device: torch.device) -> Processes:
        """Join the other processes if `torchrun` started this one, else be alone.

        Raises `UserError` where several processes cannot share one run: on one GPU.
        """
        count = int(os.environ.get("WORLD_SIZE", "1"))
        if count == 1:
            return cls()
        if device.type not in BACKENDS:
            raise UserError(f"{count} processes cannot train on {device.type}: start one, or use --device cpu.")
        if device.type == "cuda":
            here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
            gpus = torch.cuda.device_count()
            if here > gpus:
                raise UserError(f"{here} processes cannot train on {gpus} GPUs: start {gpus} of them.")
            if here > 1 and device.index != int(os.environ.get("LOCAL_RANK", "0")):
                raise UserError(f"{here} processes cannot all train on {device}: leave the number out of --device.")
            if device.index is not None:
                torch.cuda.set_device(device)  # NCCL's messages go by the current device
        distributed.init_process_group(BACKENDS[device.type], timeout=PATIENCE)
        return cls(distributed.get_rank(), count, device)

    @property
    def is_first(self) -> bool:
        """Whether this process writes files."""
        return self.rank == 0

    def stop(self) -> None:
        """Leave the group."""
        if self.count > 1:
            distributed.destroy_process_group()

    def add_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace every gradient by the sum over processes; what has none in any process goes on having none.

        An optimiser leaves alone what has no gradient, but moves what has one of zeros (momentum, weight decay).
        """
        if self.count == 1:
            return
        parameters = list(parameters)
        owners = torch.tensor([float(p.grad is not None) for p in parameters], device=self.device)
        distributed.all_reduce(owners)
        parameters = [p for p, number in zip(parameters, owners.tolist()) if number > 0]
        if not parameters:
            return
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

    def from_first(self, make: Callable[[], Value]) -> Value:
        """What `make()` gives in the first process, in every process; its `UserError` too.

        Processes on several hosts may each see another disk, so that what is read must be read once.
        """
        if self.count == 1:
            return make()
        box: list[tuple[Value | None, str]] = [(None, "")]
        if self.is_first:
            try:
                box = [(make(), "")]
            except UserError as error:
                box = [(None, str(error))]
        distributed.broadcast_object_list(box, 0, device=self.device)
        value, problem = box[0]
        if problem:
            raise UserError(problem)
        return value

    def any(self, here: bool) -> bool:
        """Whether it is so in any process; every process gets the same answer."""
        if self.count == 1:
            return here
        votes = torch.tensor(float(here), device=self.device)
        distributed.all_reduce(votes)
        return bool(votes > 0)
