"""Obstacles around an arm: the table it stands on, and boxes.

The simulated arm, the motion guard, the retargeting and the plots all use the same obstacles.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field, PositiveFloat

from invdyn_ros.config import Validated, from_mapping, load_yaml

Finite = Annotated[float, Field(allow_inf_nan=False)]


@dataclass(frozen=True)
class Box(Validated):
    """A box in the base frame of an arm."""

    name: str
    """Name in messages, such as "wall"."""
    size: tuple[PositiveFloat, PositiveFloat, PositiveFloat]
    """Lengths of the edges [m]."""
    position: tuple[Finite, Finite, Finite]
    """Position of the centre [m]."""
    rpy: tuple[Finite, Finite, Finite] = (0.0, 0.0, 0.0)
    """Rotation about the fixed axes x, y, z [rad], as in a URDF."""


@dataclass(frozen=True)
class Obstacles(Validated):
    """Everything that an arm must not touch, in its base frame."""

    table: bool = True
    """Whether the plane z = 0, on which the arm stands, is solid."""
    boxes: tuple[Box, ...] = ()
    """Boxes around the arm."""


FREE_SPACE = Obstacles(table=False)
"""Surroundings of an arm on a pedestal, for motions that excite all joints."""


def load_obstacles(file: str | Path) -> Obstacles:
    """Return the obstacles of a YAML file with the keys of `Obstacles`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file has an unknown key or a value that is not allowed.
    """
    return from_mapping(Obstacles, load_yaml(file), str(file))
