"""Episodes that are run in parts, each by one process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Protocol, TypeVar

from invdyn_ros.workers import JobExecutor, parallel_map

EPISODES_PER_JOB = 20  # at most for one worker process, which creates an environment for each job


class NumberedEpisodes(Protocol):
    """A dataclass that describes episodes to run."""

    @property
    def episodes(self) -> tuple[int, ...]:
        """Indices of the episodes in the run."""
        ...


JobT = TypeVar("JobT", bound=NumberedEpisodes)
ResultT = TypeVar("ResultT")


def run_jobs(
    jobs: Sequence[JobT],
    run: Callable[[JobT], Iterator[ResultT]],
    executor: JobExecutor | None = None,
) -> Iterator[tuple[int, ResultT]]:
    """Run the episodes of several jobs in order.

    Args:
        jobs: the jobs.
        run: runs one job and yields a result for each of its episodes.
        executor: runs parts of the jobs; None: this process, which yields after each episode.

    Yields:
        Index of the job and result of one of its episodes.
    """
    if executor is None:
        for index, job in enumerate(jobs):
            yield from ((index, result) for result in run(job))
        return
    parts = [(index, part) for index, job in enumerate(jobs) for part in split_job(job)]
    outcomes = parallel_map(partial(_listed, run), [part for _, part in parts], executor)
    for (index, _), results in zip(parts, outcomes, strict=True):
        yield from ((index, result) for result in results)


def split_job(job: JobT) -> list[JobT]:
    """Split a job into jobs of at most `EPISODES_PER_JOB` episodes."""
    starts = range(0, len(job.episodes), EPISODES_PER_JOB)
    parts = (job.episodes[start : start + EPISODES_PER_JOB] for start in starts)
    return [replace(job, episodes=part) for part in parts]  # type: ignore[type-var]


def _listed(run: Callable[[JobT], Iterator[ResultT]], job: JobT) -> list[ResultT]:
    return list(run(job))
