"""Work for several processes: jobs enter; their results leave, in the order of the jobs."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import TypeVar

import torch

J = TypeVar("J")
R = TypeVar("R")


def parallel_map(run: Callable[[J], R], jobs: Sequence[J], workers: int) -> Iterator[R]:
    """Yield what `run` makes of each job; results do not depend on the number of workers.

    Args:
        run: a function that another process can be given.
        jobs: its arguments.
        workers: processes that run it, each on one thread; 1: this one.

    Raises:
        ValueError: less than one worker.
    """
    if workers < 1:
        raise ValueError(f"workers is {workers}; it must be at least 1")
    torch.set_num_threads(1)
    workers = min(workers, len(jobs))
    if workers <= 1:
        yield from map(run, jobs)
        return
    pool = ProcessPoolExecutor(workers, get_context("spawn"), initializer=_start_worker)
    try:
        yield from pool.map(run, jobs)
    finally:
        pool.shutdown(cancel_futures=True)


def _start_worker() -> None:
    """End at Ctrl-C without a word, that is the parent's; leave the other cores to the others."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    torch.set_num_threads(1)
