"""Times of rows, from columns of stamps in a known or likely unit, or from a rate."""

from __future__ import annotations

import numpy as np

from invdyn_ros.sources.array_files import LoadedTable
from invdyn_ros.sources.sequence_columns import SequenceColumns
from invdyn_ros.sources.sequence_config import SequenceConfig

SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
USUAL_STEPS = (2e-4, 0.2)  # [s] between two rows; three decades, so that one unit fits
SAMPLED_STEPS = 10_000  # for the median
MAX_STEP = 0.5  # [s] between two rows; a motion is sampled more often


def stamps(
    values: LoadedTable, columns: SequenceColumns, config: SequenceConfig, count: int
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return the time of each row (count,) [s], and in words what was chosen without being named.

    Args:
        values: columns of a file.
        columns: what they hold.
        config: rate, or column and unit of stamps.
        count: number of rows.

    Raises:
        ValueError: the unit of the stamps is not known, or wrong.
    """
    if config.rate is not None:
        return np.arange(count) / config.rate, ()
    block = values.block(columns.time)
    raw = block.sum(-1).reshape(-1) if block.shape[-1] > 1 else block.reshape(-1)
    if len(raw) != count:
        raise ValueError(
            f"{values.source}: {columns.time[0].name} has {len(raw)} rows, the states {count}"
        )
    steps = np.diff(raw)[:: max(count // SAMPLED_STEPS, 1)]
    step = float(np.nanmedian(steps)) if count > 1 else 0.0
    name = columns.time[0].name
    if config.time_unit is not None:
        factor, unit = SECONDS[config.time_unit], ""
    elif columns.time_unit is not None:
        factor, unit = columns.time_unit.factor, ""
    else:
        likely = _likely_unit(step, raw, f"{values.source}: {name}")
        factor, unit = SECONDS[likely], "" if likely == "s" else f" in {likely}"
    if step * factor >= MAX_STEP:
        raise ValueError(
            f"{values.source}: {name} rises by {step * factor:.6g} s from row to row; give the "
            f"unit of the stamps with --time-unit {'|'.join(SECONDS)}"
        )
    chosen = unit != "" or config.time is None
    return np.asarray(raw * factor), ((f"stamps '{name}'{unit}",) if chosen else ())


def _likely_unit(step: float, raw: np.ndarray, where: str) -> str:
    """Return the unit in which stamps have a usual step.

    Raises:
        ValueError: the column counts rows.
    """
    if step < MAX_STEP or not np.isfinite(step):
        return "s"
    if (np.diff(raw) == 1).all():
        raise ValueError(
            f"{where} counts the rows; give --rate HZ, or --time-unit ms if it is in milliseconds"
        )
    shortest, longest = USUAL_STEPS
    return next((u for u, f in SECONDS.items() if shortest <= step * f < longest), "s")


def find_restarts(time: np.ndarray, episode_end: np.ndarray) -> list[int]:
    """Return the rows after which stamps go back to the start of their episode, or before it.

    Args:
        time: (N,) [s].
        episode_end: (N,) whether an episode is known to end there.
    """
    first = np.append(True, episode_end[:-1])  # row of an episode
    starts = np.maximum.accumulate(np.where(first, np.arange(len(time)), 0))
    restarts: list[int] = []
    for row in np.flatnonzero((time[1:] < time[:-1]) & ~episode_end[:-1]).tolist():
        start = max(int(starts[row]), restarts[-1] + 1 if restarts else 0)
        if time[row + 1] <= time[start]:
            restarts.append(row)
    return restarts
