"""Jobs on several processors: an ordered parallel map, and single calls in a new process.

The map takes any executor of `concurrent.futures`: processes of this machine, or the workers of a
dask cluster. Results depend neither on the number of workers nor on workers that are killed.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing import active_children, get_context, parent_process
from multiprocessing.context import ForkServerContext
from threading import Lock, Thread
from typing import Any, Protocol, TypeVar

from invdyn_ros.dask_cluster import dask_executor

J = TypeVar("J")
R = TypeVar("R")

MAX_DEATHS = 3  # of workers in a row, between which no job ends
PREPARATIONS: dict[Callable[..., object], tuple[Any, ...]] = {}
"""Calls that a worker makes before each job: function -> arguments."""
_ONE_JOB = Lock()  # a process runs one at a time, whatever the threads of a dask worker


class JobExecutor(Protocol):
    """What a map needs of an executor; those of `concurrent.futures` have it."""

    def map(self, fn: Callable[[Any], R], jobs: Iterable[Any], /) -> Iterator[R]:
        """Yield `fn(job)` for each job, in order."""


@dataclass(frozen=True, kw_only=True)
class WorkerOptions:
    """Base class of options of a command that maps over jobs."""

    workers: int | None = None
    """Number of processes; default: one per core. The results do not depend on it."""
    scheduler: str | None = None
    """Address of a dask scheduler, such as tcp://HOST:8786, whose workers do the jobs instead."""

    @contextmanager
    def executor(self) -> Iterator[JobExecutor]:
        """Return the executor of the jobs.

        Raises:
            ValueError: less than one worker, both options, or no cluster at the address.
        """
        if self.scheduler is None:
            cores = len(os.sched_getaffinity(0))
            yield LocalProcesses(cores if self.workers is None else self.workers)
            return
        if self.workers is not None:
            raise ValueError("--scheduler uses all workers of its cluster; leave out --workers")
        with dask_executor(self.scheduler) as executor:
            yield executor


def parallel_map(
    run: Callable[[J], R], jobs: Sequence[J], executor: JobExecutor | None = None
) -> Iterator[R]:
    """Yield `run(job)` for each job, in order; results do not depend on the executor.

    Args:
        run: picklable function.
        jobs: picklable arguments, one per call.
        executor: runs the jobs; None: this process.
    """
    executor = executor or LocalProcesses(1)
    yield from executor.map(partial(_run_job, run, tuple(PREPARATIONS.items())), jobs)


class LocalProcesses:
    """Processes of this machine, each with one thread.

    The jobs of a process that is killed are done again.
    """

    def __init__(self, workers: int) -> None:
        """Use at most so many processes; 1: this process.

        Raises:
            ValueError: `workers` is less than 1.
        """
        if workers < 1:
            raise ValueError(f"workers is {workers}; it must be at least 1")
        self.workers = workers

    def map(self, fn: Callable[[J], R], jobs: Iterable[J], /) -> Iterator[R]:
        """Yield `fn(job)` for each job, in order.

        Raises:
            ChildProcessError: processes are killed again and again.
        """
        jobs = list(jobs)
        _use_one_thread()
        if min(self.workers, len(jobs)) <= 1:
            yield from map(fn, jobs)
            return
        results: dict[int, R] = {}
        next_job = deaths = 0
        while next_job < len(jobs):
            remaining = {k: jobs[k] for k in range(next_job, len(jobs)) if k not in results}
            with _process_pool(fn, min(self.workers, len(remaining))) as submit:
                futures = submit(remaining)
                try:
                    for k in range(next_job, len(jobs)):
                        yield results.pop(k) if k in results else futures[k].result()
                        next_job = k + 1
                except BrokenProcessPool:
                    done = {k: f for k, f in futures.items() if k >= next_job and _succeeded(f)}
                    deaths = 0 if done or next_job > min(futures) else deaths + 1
                    results |= {k: future.result() for k, future in done.items()}
            if deaths == MAX_DEATHS:
                raise ChildProcessError(
                    f"worker processes were killed {deaths} times without a result in between, "
                    "perhaps for lack of memory; give fewer --workers"
                )


def run_in_new_process(function: Callable[..., R], *args: object) -> R:
    """Return `function(*args)`, computed in a new process that ends afterwards."""
    with fork_server_context(function).Pool(1, _end_silently) as pool:
        return pool.apply(function, args)


def _run_job(
    run: Callable[[J], R], preparations: Iterable[tuple[Callable[..., object], Any]], job: J
) -> R:
    """Return `run(job)` in a process that need not be a child of this one."""
    with _ONE_JOB:
        _use_one_thread()
        if (cv2 := sys.modules.get("cv2")) is not None:
            cv2.setNumThreads(1)  # of image processing and of decoding
        for prepare, arguments in preparations:
            prepare(*arguments)
        return run(job)


def _succeeded(future: Future[Any]) -> bool:
    return future.done() and not future.cancelled() and future.exception() is None


@contextmanager
def _process_pool(
    fn: Callable[[J], R], workers: int
) -> Iterator[Callable[[dict[int, J]], dict[int, Future[R]]]]:
    """Return a function that submits jobs; the processes end with the context."""
    context, others = fork_server_context(fn), set(active_children())
    pool = ProcessPoolExecutor(workers, context, initializer=_start_worker)

    def submit(jobs: dict[int, J]) -> dict[int, Future[R]]:
        return {k: pool.submit(fn, job) for k, job in jobs.items()}

    try:
        yield submit
    except BaseException:  # do not wait for jobs whose results nobody takes
        for process in set(active_children()) - others:
            process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def fork_server_context(function: Callable[..., Any]) -> ForkServerContext:
    """Return the context of processes that are forked from a server that imports a function.

    So the imports, which take seconds, happen once; a server without threads can be forked.
    """
    while isinstance(function, partial):
        function = function.args[0] if function.func is _run_job else function.func
    context = get_context("forkserver")
    context.set_forkserver_preload([function.__module__])
    return context


def _end_silently() -> None:
    """Let Ctrl-C end this process without words; the parent process reports it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _start_worker() -> None:
    """Use a single thread, and end silently at Ctrl-C."""
    _end_silently()
    _use_one_thread()
    Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this process once its parent has been killed, which a pool does not notice."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _use_one_thread() -> None:
    """Let PyTorch compute in one thread, as the processes share the cores."""
    import torch  # slow to import, and nodes import this module

    torch.set_num_threads(1)
