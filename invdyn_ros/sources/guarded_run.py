"""Simulated arm that follows a motion through its controller and motion guard, and its recording.

The controller, its guard, limits and monitor are those of a live graph.
"""

from __future__ import annotations

from collections import Counter
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
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
from invdyn_ros.models.drive_check import chosen_feedback
from invdyn_ros.models.mujoco_rigid_body import urdf_model
from invdyn_ros.models.rigid_body_config import NUM_FRICTION_TERMS
from invdyn_ros.models.runtime import load_runtime
from invdyn_ros.robots.feedback import nominal_rotor_inertia
from invdyn_ros.robots.obstacles import Obstacles
from invdyn_ros.robots.registry import load_plant
from invdyn_ros.robots.robot import Robot
from invdyn_ros.sources.excitation.motion_check import loaded_robot
from invdyn_ros.sources.excitation.motion_player import START_TOLERANCE
from invdyn_ros.sources.simulation import COULOMB_GUESS, DrivingModel
from invdyn_ros.typing import Array

ROW_ARRAYS = ("time", "q", "qd", "action", "true_q", "reference")
MAX_APPROACH = 30.0  # [s] to the start of a motion
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
class MotionRun:
    """Recording of one motion of an arm.

    Attributes:
        trajectory: measured motion with accelerations, and the actions.
        reference: (T, 3 n) planned position, velocity and acceleration.
        true_position: (T, n) without noise [rad]; of a real arm the measured one.
        is_driven_by_model: whether an identified model drove the arm.
    """

    trajectory: Trajectory
    reference: Array
    true_position: Array
    is_driven_by_model: bool

    @property
    def rms(self) -> float:
        """Tracking error over time and joints [rad]."""
        planned = self.reference[:, : self.true_position.shape[1]]
        return float(np.sqrt(np.mean((self.true_position - planned) ** 2)))


@dataclass(frozen=True, eq=False)
class GuardedRun(MotionRun):
    """Recording of one motion of a simulated arm.

    Attributes:
        contacts: control steps with a contact.
        held: control steps in which the controller did not follow the motion, and why.
        deviation: largest distance of the plan from the motion [rad].
    """

    contacts: int
    held: dict[str, int]
    deviation: float


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


def _driving_model(checkpoint: Path, robot: Robot) -> DrivingModel:
    """Return the driver with the model of a checkpoint."""
    model = load_runtime(checkpoint, "cpu", robot)
    meta = model.meta
    return DrivingModel(model, meta.action_delay, chosen_feedback(meta.action_unit, meta.data))


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
        self._nominal = nominal_driving_model(robot, payload)
        self.simulation = Simulation(robot, plant, self.unit, seed=seed, obstacles=obstacles)

    def __exit__(self, *_: object) -> None:
        self.simulation.close()

    def run(self, motion: JointMotion, checkpoint: Path | None) -> GuardedRun:
        """Move to the start of a motion, follow it, and return the recording of the motion.

        Args:
            motion: the motion.
            checkpoint: folder of the model that drives the arm; None: its URDF does, with
                plausible friction.

        Raises:
            ValueError: the safety limits stopped the arm, or it does not reach the start.
        """
        robot = self.robot
        driver = self._nominal if checkpoint is None else _driving_model(checkpoint, robot)
        controller = ArmController(
            self.loaded,
            driver.model,
            self.unit,
            driver.action_delay,
            self.safety,
            driver.feedback,
            obstacles=self.obstacles,
        )
        controller.engage(True)
        contacts = self.simulation.contact_ticks
        self._go_to_start(controller, motion)
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
            checkpoint is not None,
            self.simulation.contact_ticks - contacts,
            dict(held),
            float(np.abs(columns["reference"][:, : robot.n] - motion.q).max()),
        )

    def _go_to_start(self, controller: ArmController, motion: JointMotion) -> None:
        """Let the arm move to the first posture of a motion, where it may already be."""
        for _ in range(round(MAX_APPROACH * self.robot.rate)):
            planned = self._tick(controller, motion, -1).reference[: self.robot.n]
            if np.abs(planned - motion.q[0]).max() < START_TOLERANCE:
                return
        raise ValueError(
            f"{self.robot.name} does not come to the start of the motion within "
            f"{MAX_APPROACH:g} s: the motion guard holds it; give more space around the arm"
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
