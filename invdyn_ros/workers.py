"""Worker processes: an ordered parallel map, and single calls in a new process."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context, parent_process
from multiprocessing.context import ForkServerContext
from threading import Thread
from typing import Any, TypeVar

import torch

J = TypeVar("J")
R = TypeVar("R")


def parallel_map(run: Callable[[J], R], jobs: Sequence[J], workers: int) -> Iterator[R]:
    """Yield `run(job)` for each job, in order; results do not depend on the number of workers.

    Args:
        run: picklable function.
        jobs: picklable arguments, one per call.
        workers: number of processes, each with one thread; 1 runs the jobs in this process.

    Raises:
        ValueError: `workers` is less than 1.
    """
    if workers < 1:
        raise ValueError(f"workers is {workers}; it must be at least 1")
    torch.set_num_threads(1)
    workers = min(workers, len(jobs))
    if workers <= 1:
        yield from map(run, jobs)
        return
    context = _context_with(getattr(run, "func", run))
    pool = ProcessPoolExecutor(workers, context, initializer=_start_worker)
    try:
        yield from pool.map(run, jobs)
    finally:
        pool.shutdown(cancel_futures=True)


def run_in_new_process(function: Callable[..., R], *args: object) -> R:
    """Return `function(*args)`, computed in a new process that ends afterwards."""
    with _context_with(function).Pool(1) as pool:
        return pool.apply(function, args)


def _context_with(function: Callable[..., Any]) -> ForkServerContext:
    """Return the context of processes that are forked from a server that imports a function.

    So the imports, which take seconds, happen once; a server without threads can be forked.
    """
    context = get_context("forkserver")
    context.set_forkserver_preload([function.__module__])
    return context


def _start_worker() -> None:
    """Use a single thread, and exit silently at Ctrl-C, which the parent process reports."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    torch.set_num_threads(1)
    Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this process once its parent has been killed, which a pool does not notice."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
