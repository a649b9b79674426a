"""Description of an arm: what its URDF lacks, and what overrides the URDF."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from invdyn_ros.robots.obstacles import Obstacles
from invdyn_ros.robots.plant import PlantConfig
from invdyn_ros.robots.scene import Scene
from invdyn_ros.robots.tool import Tool


class Gripper(NamedTuple):
    """A gripper whose fingers move together.

    Attributes:
        joint_names: joints of the fingers.
        max_opening: largest distance between the pads [m].
        closed: position of each joint where the pads touch [m or rad]; empty: zero.
        open: position of each joint at the largest opening; empty: an equal part of it, such as
            half for each of two fingers that slide.
    """

    joint_names: tuple[str, ...]
    max_opening: float
    closed: tuple[float, ...] = ()
    open: tuple[float, ...] = ()

    @property
    def ends(self) -> tuple[tuple[float, float], ...]:
        """Position of each finger joint with the pads closed and open [m or rad]."""
        count = len(self.joint_names)
        closed = self.closed or (0.0,) * count
        return tuple(zip(closed, self.open or (self.max_opening / count,) * count, strict=True))

    def positions(self, opening: float) -> list[float]:
        """Return the positions of the finger joints at an opening [m]."""
        if not (self.closed or self.open):
            return [opening / len(self.joint_names)] * len(self.joint_names)
        fraction = opening / self.max_opening
        return [closed + fraction * (end - closed) for closed, end in self.ends]

    def opening(self, positions: Sequence[float]) -> float:
        """Return the opening [m] at positions of the finger joints."""
        if not (self.closed or self.open):
            return float(sum(positions))
        fractions = [
            (position - closed) / (end - closed)
            for position, (closed, end) in zip(positions, self.ends, strict=True)
        ]
        return self.max_opening * sum(fractions) / len(fractions)


@dataclass(frozen=True)
class GraspSpec:
    """Settings of the grasp environments and the scripted grasp that depend on the arm."""

    env_name: str
    """Name of the arm in the Gymnasium environment ids."""
    physics_rate: float
    """Integration steps per second in the environments [Hz]."""
    clearance: float = 0.08
    """Height of the tool above the block before it descends [m]."""
    lift_height: float = 0.10
    """Height to which the block is lifted [m]."""


@dataclass(frozen=True)
class RobotSpec:
    """Description of an arm: values that its URDF lacks, and values that override the URDF.

    A limit that is None is taken from the URDF.
    """

    urdf: str
    """Path of the file, absolute or in this package, or "pybullet_data/..." for that package."""
    joint_names: tuple[str, ...]
    """Names of the n joints of the arm, without the fingers."""
    tip_link: str
    """Link of the tool centre point; its z axis is the approach direction."""
    home: tuple[float, ...] | None
    """(n,) home configuration [rad]; None: `default_home`."""
    rate: float
    """Rate of the arm's own controller [Hz]."""
    acceleration: tuple[float, ...] | None
    """(n,) acceleration limits [rad/s2]; None: `feasible_acceleration`."""
    lower: tuple[float, ...] | None = None
    """(n,) lower position limits [rad]."""
    upper: tuple[float, ...] | None = None
    """(n,) upper position limits [rad]."""
    velocity: tuple[float, ...] | None = None
    """(n,) velocity limits [rad/s]."""
    effort: tuple[float, ...] | None = None
    """(n,) effort limits [N m]."""
    action_unit: str = "N m"
    """Unit of the actions: "N m", or "rad" for position servos."""
    gripper: Gripper | None = None
    """Finger joints and largest opening of the gripper."""
    tool: Tool | None = None
    """Pose of the tool centre point in the frame of the tip link; None: that of the link."""
    plant: PlantConfig = field(default_factory=PlantConfig)
    """Parameters of the simulated arm."""
    obstacles: Obstacles = field(default_factory=Obstacles)
    """Table and boxes that the arm must not touch."""
    scene: Scene | None = None
    """Table, blocks and camera around the arm."""
    grasp: GraspSpec | None = None
    """Settings for grasping; the scene must have a block."""
    driver_node: str | None = None
    """Executable of this package that drives the real arm."""
    driver_rate: float | None = None
    """Joint states of that driver per second [Hz]; None: `rate`."""
    driver: str | None = None
    """What describes the driver of the real arm, which the user starts: the name of a file of
    config/drivers, or FILE.yaml."""
    real_checkpoint: str | None = None
    """Folder of config/checkpoints for the real arm; None: the folder of the simulated arm, whose
    name is that of the arm."""
