"""Trajectories from any source, for programs."""

from __future__ import annotations

from typing import Any

from invdyn_ros.config import from_mapping
from invdyn_ros.data.trajectory import Trajectory
from invdyn_ros.sources.registry import SOURCES


def collect(source: str, **options: Any) -> list[Trajectory]:
    """Return the trajectories of a source of 'invdyn collect'.

    Args:
        source: name of the source, such as "sim", "bag" or "sequence".
        **options: its options; those of a group as a mapping, such as excitation={"minutes": 1}.

    Raises:
        ValueError: an unknown source or option, or nothing to read.
    """
    if source not in SOURCES:
        raise ValueError(f"no source '{source}'; there are {', '.join(SOURCES)}")
    reader = from_mapping(SOURCES[source], options, f"the options of {source}")
    return list(reader.collect().result.trajectories)
