"""Simulated arm that follows a motion through its controller and motion guard, and its recording.

The controller, its guard, limits and monitor are those of a live graph.
"""

from __future__ import annotations

from collections import Counter
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from invdyn_ros.arms.pybullet_simulation import Simulation
from invdyn_ros.control.computed_torque import ConstantInertiaModel, MeasuredState
from invdyn_ros.control.controller import ArmController
from invdyn_ros.control.joint_motion import SETTLING, JointMotion
from invdyn_ros.control.motion_profile import Target
from invdyn_ros.control.safety_limits import SafetyLimitsConfig
from invdyn_ros.data.action_units import SETPOINT
from invdyn_ros.data.trajectory import GUARDED_RUN, Trajectory
from invdyn_ros.models.mujoco_rigid_body import urdf_model
from invdyn_ros.models.rigid_body_config import NUM_FRICTION_TERMS
from invdyn_ros.robots.feedback import nominal_rotor_inertia
from invdyn_ros.robots.obstacles import Obstacles
from invdyn_ros.robots.registry import load_plant
from invdyn_ros.robots.robot import Robot
from invdyn_ros.sources.excitation.motion_check import loaded_robot
from invdyn_ros.sources.simulation import COULOMB_GUESS, DrivingModel
from invdyn_ros.typing import Array

ROW_ARRAYS = ("time", "q", "qd", "action", "true_q", "reference")
VISCOUS_GUESS = 0.01  # [s/rad] of a typical geared joint, relative to the effort limit


class ControlTick(NamedTuple):
    """One control tick: measured state, action, true position, planned state, why it holds."""

    time: Array
    q: Array
    qd: Array
    action: Array
    true_q: Array
    reference: Array
    reason: str | None


@dataclass(frozen=True, eq=False)
class GuardedRun:
    """Recording of one motion.

    Attributes:
        trajectory: measured motion with accelerations, and the actions sent.
        reference: (T, 3 n) planned position, velocity and acceleration.
        true_position: (T, n) without noise [rad].
        contacts: control steps with a contact.
        held: control steps in which the controller did not follow the motion, and why.
        deviation: largest distance of the plan from the motion [rad].
    """

    trajectory: Trajectory
    reference: Array
    true_position: Array
    contacts: int
    held: dict[str, int]
    deviation: float

    @property
    def rms(self) -> float:
        """Tracking error over time and joints [rad]."""
        planned = self.reference[:, : self.true_position.shape[1]]
        return float(np.sqrt(np.mean((self.true_position - planned) ** 2)))


def nominal_driving_model(robot: Robot, payload: float) -> DrivingModel:
    """Return the driver of an arm that is not identified: URDF, payload, plausible friction.

    Args:
        robot: the arm.
        payload: mass at the tool that the URDF lacks [kg].
    """
    unit = robot.action_unit
    if unit == SETPOINT:
        return DrivingModel(ConstantInertiaModel(robot, unit))
    friction = np.zeros((robot.n, NUM_FRICTION_TERMS))
    friction[:, 0] = VISCOUS_GUESS * robot.effort
    friction[:, 1] = COULOMB_GUESS * robot.effort
    friction[:, 3] = nominal_rotor_inertia(robot.effort)
    return DrivingModel(urdf_model(loaded_robot(robot, payload), unit, friction=friction))


class GuardedArm(AbstractContextManager["GuardedArm"]):
    """A simulated arm, at home at first, that runs one motion after the other."""

    def __init__(
        self,
        robot: Robot,
        payload: float,
        obstacles: Obstacles,
        tool_speed: float,
        seed: int = 0,
    ) -> None:
        """Start the simulation.

        Args:
            robot: the arm.
            payload: mass at the tool that the URDF lacks [kg].
            obstacles: table and boxes.
            tool_speed: largest speed of tool and joints [m/s].
            seed: seed of the noise.
        """
        self.robot, self.unit, self.obstacles = robot, robot.action_unit, obstacles
        self.loaded, plant = loaded_robot(robot, payload), load_plant(robot.name, payload=payload)
        self.safety = SafetyLimitsConfig(tool_speed=tool_speed)
        self.simulation = Simulation(robot, plant, self.unit, seed=seed, obstacles=obstacles)

    def __exit__(self, *_: object) -> None:
        self.simulation.close()

    def run(self, motion: JointMotion, driver: DrivingModel) -> GuardedRun:
        """Follow a motion that starts where the arm stands, and return the recording.

        Args:
            motion: the motion.
            driver: computes the actions.

        Raises:
            ValueError: the safety limits stopped the arm.
        """
        robot, model = self.robot, driver.model
        controller = ArmController(
            self.loaded, model, self.unit, driver.action_delay, self.safety, driver.feedback,
            obstacles=self.obstacles,
        )  # fmt: skip
        controller.engage(True)
        contacts = self.simulation.contact_ticks
        settling = round(SETTLING * robot.rate)
        last = len(motion.q) + settling
        rows = [self._tick(controller, motion, k) for k in range(-settling, last)]
        rows = rows[settling:-settling]
        columns = {name: np.stack([getattr(row, name) for row in rows]) for name in ROW_ARRAYS}
        held = Counter(row.reason for row in rows if row.reason is not None)
        trajectory = Trajectory(
            time=columns["time"],
            position=columns["q"],
            velocity=columns["qd"] if columns["qd"].shape[1] else np.empty((0, robot.n)),
            acceleration=np.empty((0, robot.n)),
            action=columns["action"],
            joint_names=robot.joint_names,
            action_unit=self.unit,
            recording=GUARDED_RUN,
        )
        return GuardedRun(
            trajectory.differentiate(),
            columns["reference"],
            columns["true_q"],
            self.simulation.contact_ticks - contacts,
            dict(held),
            float(np.abs(columns["reference"][:, : robot.n] - motion.q).max()),
        )

    def _tick(self, controller: ArmController, motion: JointMotion, k: int) -> ControlTick:
        """Run one control tick with sample k of a motion; before the first one the arm rests."""
        simulation, step = self.simulation, 1 / self.robot.rate
        sample = simulation.state()
        controller.set_target(Target(sample.time, motion.state_at((k + 1) * step), step))
        measured = MeasuredState(sample.time, sample.q, sample.qd, sample.effort)
        command = controller.update(measured)
        if command.action is None or command.desired is None:
            raise ValueError(f"the safety limits stopped the motion: {command.reason}")
        true_q, _ = simulation.true_state()
        simulation.step(command.action)
        reference = np.concatenate(command.desired)
        time = np.array(sample.time)
        return ControlTick(
            time, sample.q, sample.qd, command.action, true_q, reference, command.reason
        )
