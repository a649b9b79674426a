"""Several processes that train one model: a batch enters, each process's share of it leaves."""

from __future__ import annotations

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
    """This process among those that train together; by itself unless told otherwise."""

    rank: int = 0
    """Number of this process, from 0."""
    size: int = 1
    """How many there are."""

    @property
    def first(self) -> bool:
        """Whether this is the process that writes and reports."""
        return self.rank == 0

    def share(self, index: Tensor) -> Tensor:
        """Return this process's part of a batch (N,), about N / size rows, none for some."""
        return index.tensor_split(self.size)[self.rank]

    def add(self, values: Tensor) -> Tensor:
        """Sum over the processes, in place."""
        if self.size > 1:
            dist.all_reduce(values)
        return values

    def add_gradients(self, parameters: Sequence[Tensor]) -> None:
        """Sum the gradients over the processes, in one message per floating type."""
        if self.size == 1:
            return
        for dtype in sorted({p.dtype for p in parameters}, key=str):
            alike = [p for p in parameters if p.dtype == dtype]
            grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in alike]
            flat = self.add(torch.cat([grad.flatten() for grad in grads]))
            for p, part in zip(alike, flat.split([p.numel() for p in alike]), strict=True):
                p.grad = part.view_as(p)

    def broadcast(self, content: bytes | None, device: torch.device) -> bytes:
        """Return on every process what the first one holds."""
        if self.size == 1:
            return content or b""
        size = self.add(torch.tensor([len(content or b"")], device=device))
        if content is None:
            buffer = torch.empty(int(size), dtype=torch.uint8, device=device)
        else:
            buffer = torch.frombuffer(bytearray(content), dtype=torch.uint8).to(device)
        dist.broadcast(buffer, 0)
        return buffer.cpu().numpy().tobytes()


def launched() -> ProcessGroup:
    """Return which process of a `torchrun` this is; without one, the only one."""
    if not dist.is_torchelastic_launched():
        return ProcessGroup()
    return ProcessGroup(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))


@contextmanager
def joined(device: torch.device) -> Iterator[ProcessGroup]:
    """Meet the other processes of a `torchrun`, each with a GPU of its own where there are any."""
    ranks = launched()
    if ranks.size == 1:
        yield ranks
        return
    if device.type == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group(BACKENDS[device.type])
    try:
        yield ranks
    finally:
        dist.destroy_process_group()
