"""Data-parallel training of one model by several processes."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

BACKENDS = {"cpu": "gloo", "cuda": "nccl"}


@dataclass(frozen=True)
class ProcessGroup:
    """Rank of this process and number of processes that train together; by default only one."""

    rank: int = 0
    """Index of this process, from 0."""
    world_size: int = 1
    """Number of processes."""

    @property
    def is_main_process(self) -> bool:
        """Whether this process writes files and reports progress."""
        return self.rank == 0

    def shard(self, index: Tensor) -> Tensor:
        """Return this process's part of a batch (N,), about N / world_size rows, maybe none."""
        return index.tensor_split(self.world_size)[self.rank]

    def all_reduce(self, values: Tensor) -> Tensor:
        """Sum over the processes, in place."""
        if self.world_size > 1:
            dist.all_reduce(values)
        return values

    def all_reduce_gradients(self, parameters: Sequence[Tensor]) -> None:
        """Sum the gradients over the processes, in one message per floating-point type."""
        if self.world_size == 1:
            return
        for dtype in sorted({p.dtype for p in parameters}, key=str):
            same_dtype = [p for p in parameters if p.dtype == dtype]
            grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in same_dtype]
            flat = self.all_reduce(torch.cat([grad.flatten() for grad in grads]))
            parts = flat.split([p.numel() for p in same_dtype])
            for p, part in zip(same_dtype, parts, strict=True):
                p.grad = part.view_as(p)

    def broadcast(self, content: bytes | None, device: torch.device) -> bytes:
        """Return the main process's `content` on every process."""
        if self.world_size == 1:
            return content or b""
        size = self.all_reduce(torch.tensor([len(content or b"")], device=device))
        if content is None:
            buffer = torch.empty(int(size), dtype=torch.uint8, device=device)
        else:
            buffer = torch.frombuffer(bytearray(content), dtype=torch.uint8).to(device)
        dist.broadcast(buffer, 0)
        return buffer.cpu().numpy().tobytes()


def torchrun_process_group() -> ProcessGroup:
    """Return the process group of `torchrun`; without it, a group of one."""
    if not dist.is_torchelastic_launched():
        return ProcessGroup()
    return ProcessGroup(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))


@contextmanager
def init_process_group(device: torch.device) -> Iterator[ProcessGroup]:
    """Connect the processes of `torchrun`; with CUDA each process uses its own GPU."""
    group = torchrun_process_group()
    if group.world_size == 1:
        yield group
        return
    if device.type == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    # Its functions have the present group as a default argument. If torch imports it later, they
    # keep the group, whose threads then abort the process as it exits.
    importlib.import_module("torch.distributed.nn.functional")
    dist.init_process_group(BACKENDS[device.type])
    try:
        yield group
    finally:
        dist.destroy_process_group()
