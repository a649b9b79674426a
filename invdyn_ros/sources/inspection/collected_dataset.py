"""A collection as a dataset folder, and what it holds in lines for the user."""

from __future__ import annotations

from pathlib import Path

from invdyn_ros.data.dataset import write_dataset
from invdyn_ros.sources.inspection.inspect import inspect
from invdyn_ros.sources.source import Collection
from invdyn_ros.training.dataset_arm import arm_metadata

RATE_DIGITS = 3  # stamps are not accurate enough for more digits of a rate [Hz]


def write_collection(out: Path, collection: Collection) -> list[str]:
    """Write a dataset folder; return its table, what contradicts itself in it, and a summary.

    Args:
        out: the folder.
        collection: what it will hold.

    Raises:
        ValueError: there is no trajectory, or it cannot be written.
    """
    result, robot = collection.result, collection.robot
    trajectories, rows = result.trajectories, result.summary()
    if not trajectories:
        raise ValueError(f"nothing to write: {rows}")
    rate = round(collection.rate or trajectories[0].rate, RATE_DIGITS)
    metadata = arm_metadata(robot, collection.urdf) | dict(collection.metadata)
    write_dataset(out, trajectories, robot, rate, metadata=metadata)
    seconds = sum(t.time[-1] - t.time[0] for t in trajectories)
    first = trajectories[0]
    actions = f"actions in {first.action_unit}" if len(first.action) else "without actions"
    lines, suspicions = inspect(collection)
    summary = f"{out}: {len(trajectories)} trajectories of {robot}, {seconds:.0f} s, {actions}"
    return [rows, *collection.notes, *lines, *map(str, suspicions), summary]
