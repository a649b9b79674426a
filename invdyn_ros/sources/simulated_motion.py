"""Source of simulated motion: arms, planar bodies and Gymnasium environments."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from invdyn_ros.robots.registry import load_plant
from invdyn_ros.robots.robot import load_robot
from invdyn_ros.sources.excitation.fourier_series import ExcitationConfig
from invdyn_ros.sources.gymnasium import has_rollouts, simulate_rollouts
from invdyn_ros.sources.passive_rollouts import PassiveRolloutConfig
from invdyn_ros.sources.sampling_dropout import SamplingDropoutConfig, drop_and_jitter
from invdyn_ros.sources.simulation import simulate
from invdyn_ros.sources.source import (
    DEFAULT_ARM,
    Collection,
    Source,
    arm_name,
    collect_episodes,
)
from invdyn_ros.workers import WorkerOptions


@dataclass(frozen=True)
class SimulatedMotionSource(WorkerOptions, Source):
    """Simulate an arm that follows excitation trajectories.

    The bodies hopper and walker, and Gymnasium environments such as Hopper-v5, are simulated
    without control from random initial states.
    """

    arm: str | None = None
    """Name of the arm (or FILE.yaml), body or environment; default: that of the URDF, or ur5."""
    urdf: Path | None = None
    """URDF file of an arm that is not known by name, or another one of a known arm."""
    unit: Literal["N m", "rad"] | None = None
    """Unit of the actions: torque or servo setpoint; default: that of the arm."""
    payload: float | None = None
    """Mass at the tool that is not in the URDF [kg]; default: that of the simulated arm."""
    policy: Path | None = None
    """Checkpoint that drives the arm, to record what it does and train it again with these data
    too; default: a model of the URDF."""
    excitation: ExcitationConfig = field(default_factory=ExcitationConfig)
    """Motion of an arm."""
    rollout: PassiveRolloutConfig = field(default_factory=PassiveRolloutConfig)
    """Rollouts of a body or an environment."""
    dropout: SamplingDropoutConfig = field(default_factory=SamplingDropoutConfig)
    """Irregular sampling of the result."""

    def collect(self) -> Collection:
        """Simulate all episodes."""
        seed, name = self.excitation.seed, str(self.arm)
        if has_rollouts(name) and self.urdf is None:
            episodes = simulate_rollouts(name, self.rollout, seed)
            collection = collect_episodes(episodes, self.rollout.episodes, name)
        else:
            collection = self._collect_arm()
        return collection._replace(
            result=drop_and_jitter(collection.result, self.dropout, seed), urdf=self.urdf
        )

    def _collect_arm(self) -> Collection:
        robot = load_robot(arm_name(self.arm, self.urdf, DEFAULT_ARM), self.urdf)
        changes = {} if self.payload is None else {"payload": self.payload}
        plant = load_plant(robot.name, **changes)
        policy = "" if self.policy is None else str(self.policy)
        with self.executor() as executor:
            episodes = simulate(robot, self.excitation, plant, self.unit, executor, policy)
            return collect_episodes(episodes, self.excitation.num_episodes, robot.name)
