"""Simulated arm that follows a motion through its controller and motion guard, and its recording.

The controller, its guard, limits and monitor are those of a live graph.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np

from invdyn_ros.arms.pybullet_simulation import Simulation
from invdyn_ros.control.computed_torque import ConstantInertiaModel, MeasuredState
from invdyn_ros.control.controller import ArmController
from invdyn_ros.control.motion_profile import Target
from invdyn_ros.control.safety_limits import SafetyLimitsConfig
from invdyn_ros.data.trajectory import Trajectory
from invdyn_ros.models.mujoco_rigid_body import MujocoRigidBody, urdf_model
from invdyn_ros.models.predictor import Predictor
from invdyn_ros.robots.feedback import nominal_rotor_inertia
from invdyn_ros.robots.obstacles import Obstacles
from invdyn_ros.robots.plant import PlantConfig
from invdyn_ros.robots.robot import Robot
from invdyn_ros.sources.joint_motion import JointMotion
from invdyn_ros.sources.motion_check import tree_with_payload
from invdyn_ros.typing import Array

SETTLING = 1.2  # [s] at rest before a motion, until the slow start of the controller is over
# [-], [s/rad] of a typical geared joint, relative to the effort limit
COULOMB_GUESS, VISCOUS_GUESS = 0.01, 0.01


@dataclass(frozen=True, eq=False)
class GuardedRun:
    """Recording of one motion.

    Attributes:
        trajectory: measured motion, and the actions sent.
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


def nominal_model(robot: Robot, unit: str, payload: float) -> Predictor:
    """Return a model of an arm that is not identified: URDF, payload, plausible friction.

    Args:
        robot: the arm.
        unit: unit of its actions.
        payload: mass at the tool that the URDF lacks [kg].
    """
    if unit == "rad":
        return ConstantInertiaModel(robot, unit)
    friction = np.zeros((robot.n, 4))
    friction[:, 0] = VISCOUS_GUESS * robot.effort
    friction[:, 1] = COULOMB_GUESS * robot.effort
    friction[:, 3] = nominal_rotor_inertia(robot.effort)
    model = urdf_model(robot, unit, friction=friction)
    inertial = tree_with_payload(robot, payload).inertial.numpy()
    return MujocoRigidBody(model.meta, model.parameters | {"tree.inertial": inertial})


class GuardedArm(AbstractContextManager["GuardedArm"]):
    """A simulated arm, at home at first, that runs one motion after the other."""

    def __init__(
        self,
        robot: Robot,
        plant: PlantConfig,
        obstacles: Obstacles,
        tool_speed: float,
        seed: int = 0,
    ) -> None:
        """Start the simulation.

        Args:
            robot: the arm.
            plant: differences from the URDF.
            obstacles: table and boxes.
            tool_speed: largest speed of tool and joints [m/s].
            seed: seed of the noise.
        """
        self.robot, self.unit, self.obstacles = robot, robot.action_unit, obstacles
        self.safety = SafetyLimitsConfig(tool_speed=tool_speed)
        self.simulation = Simulation(robot, plant, self.unit, seed=seed, obstacles=obstacles)

    def __exit__(self, *_: object) -> None:
        self.simulation.close()

    def run(self, motion: JointMotion, model: Predictor, action_delay: float = 0.0) -> GuardedRun:
        """Follow a motion that starts where the arm stands, and return the recording.

        Args:
            motion: the motion.
            model: computes the actions.
            action_delay: time from an action to its effect [s].

        Raises:
            ValueError: the safety limits stopped the arm.
        """
        robot = self.robot
        controller = ArmController(
            robot, model, self.unit, action_delay, self.safety, obstacles=self.obstacles
        )
        controller.engage(True)
        step, settling = 1 / robot.rate, round(SETTLING * robot.rate)
        rows: list[tuple[Array, ...]] = []
        held: dict[str, int] = {}
        contacts, deviation = self.simulation.contact_ticks, 0.0
        for k in range(-settling, len(motion.q)):
            sample = self.simulation.state()
            desired = motion.state_at((k + 1) * step)
            controller.set_target(Target(sample.time, desired, step))
            command = controller.update(
                MeasuredState(sample.time, sample.q, sample.qd, sample.effort)
            )
            if controller.fault is not None:
                raise ValueError(f"the safety limits stopped the motion: {controller.fault}")
            if k >= 0:
                if command.action is None or command.desired is None:
                    raise ValueError(f"the arm is not driven: {command.reason}")
                if command.reason is not None:
                    held[command.reason] = held.get(command.reason, 0) + 1
                distance = np.abs(command.desired.q - motion.state_at(k * step).q).max()
                deviation = max(deviation, float(distance))
                true, _ = self.simulation.true_state()
                rows.append(
                    (np.array([sample.time]), sample.q, sample.qd, command.action, true,
                     np.concatenate(command.desired))
                )  # fmt: skip
            self.simulation.step(command.action)
        time, q, qd, action, true, reference = (np.stack(x) for x in zip(*rows, strict=True))
        trajectory = Trajectory(
            time=time[:, 0],
            position=q,
            velocity=qd if qd.shape[1] else np.empty((0, robot.n)),
            acceleration=np.empty((0, robot.n)),
            action=action,
            joint_names=robot.joint_names,
            action_unit=self.unit,
        )
        contacts = self.simulation.contact_ticks - contacts
        return GuardedRun(trajectory, reference, true, contacts, held, deviation)
