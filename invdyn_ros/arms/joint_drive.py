"""Drives of the simulated joints: torque control or position servos, brakes and a watchdog."""

from __future__ import annotations

from functools import partial

import numpy as np

from invdyn_ros.arms.joint_friction import JointFriction
from invdyn_ros.arms.pybullet_arm import PybulletArm
from invdyn_ros.arms.pybullet_client import BulletClient, pybullet
from invdyn_ros.robots.plant import PlantConfig
from invdyn_ros.robots.robot import Robot
from invdyn_ros.typing import Array

BRAKE_FACTOR = 2.0  # a brake holds twice the joint's rated effort
MAX_SILENCE_TICKS = 2.5  # control periods without a command, after which the watchdog acts
MIN_SILENCE = 0.03  # [s] without a command that the watchdog always tolerates
BRAKE_SILENCE = 0.1  # [s] without a command, after which the brakes engage
WATCHDOG_DAMPING = 0.6  # torque of the watchdog per velocity and effort limit [s/rad]

BRAKES = "no command: brakes on"
GRAVITY_COMPENSATION = "no command: gravity compensation and damping"


class JointDrive:
    """Drives of all joints, called once per physics step.

    A command stays active until the next one. The brakes hold until the first. The watchdog of
    torque-controlled joints replaces a command that is too old by gravity compensation of the
    URDF's masses plus damping, and then engages the brakes. A position servo holds its last
    setpoint.

    Attributes:
        applied_torque: (n,) torque of the present command [N m]; zero for servos and brakes.
        problem: what replaces the command, None while a command is active.
    """

    def __init__(self, client: BulletClient, arm: PybulletArm, robot: Robot, unit: str) -> None:
        """Create the drives; call `reset` before `actuate`.

        Args:
            client: the PyBullet world.
            arm: the arm in it.
            robot: description of the arm.
            unit: unit of the commands, "N m" or "rad".
        """
        self.robot, self.unit = robot, unit
        # bind once: each attribute access of the client creates a new function
        self._get_joint_states = partial(client.getJointStates, arm.body_id, arm.joints)
        self._set_motors = partial(client.setJointMotorControlArray, arm.body_id, arm.joints)
        self._effort = robot.effort.tolist()

    def reset(self, plant: PlantConfig) -> None:
        """Engage the brakes until the first command, with the friction and servos of a plant."""
        self.plant = plant
        self.friction = JointFriction(self.robot, plant)
        tolerated = max(MAX_SILENCE_TICKS / self.robot.rate, MIN_SILENCE)
        self._max_silence = round(tolerated * plant.physics_rate)
        self._brake_silence = round(BRAKE_SILENCE * plant.physics_rate)
        self.applied_torque = np.zeros(self.robot.n)
        self._torques: list[float] = []
        self._command: Array | None = None
        self.problem: str | None = None
        self._silence = 0  # physics steps since the last command
        if self.unit == "N m":
            self._gravity_torque(self.robot.home)  # the first call loads the model
        self._brake()

    def actuate(self, command: Array | None) -> None:
        """Apply a new command, or the last one if it is None, for one physics step."""
        if self.friction.varies and self.problem is None:
            states = self._get_joint_states()
            self._set_velocity_motors(self.friction.update(self._torques, states))
        if command is not None:
            self._accept(command)
        elif self._command is None:
            return
        else:
            self._silence += 1
        if self.unit == "rad":
            self._torques = self._servo_torques()
        elif self._silence > self._max_silence:
            self._run_watchdog()
            return
        self._set_motors(pybullet.TORQUE_CONTROL, forces=self._torques)

    def _accept(self, command: Array) -> None:
        """Make a command the active one."""
        if self.problem is not None:
            self._set_velocity_motors(self.friction.coulomb)
            self.problem = None
        self._silence = 0
        if command is self._command:
            return
        self._command, robot = command, self.robot
        if self.unit == "N m":
            self.applied_torque = np.clip(command, -robot.effort, robot.effort)
            self._torques = self.applied_torque.tolist()
            return
        quantum = max(self.plant.encoder_step, self.plant.servo_step)
        target = np.round(command / quantum) * quantum if quantum else command
        self._servo_target = np.clip(target, robot.lower, robot.upper).tolist()

    def _servo_torques(self) -> list[float]:
        """Return the torques (n,) [N m] of position servos, modelled as damped springs."""
        stiffness, damping = self.plant.servo_stiffness, self.plant.servo_damping
        joints = zip(self._servo_target, self._get_joint_states(), self._effort, strict=True)
        return [
            effort * min(max(stiffness * (target - state[0]) - damping * state[1], -1.0), 1.0)
            for target, state, effort in joints
        ]

    def _run_watchdog(self) -> None:
        """Apply gravity compensation and damping, and later the brakes."""
        if self.problem == BRAKES:
            return
        if self._silence > self._brake_silence:
            self._brake()
            self._command, self.applied_torque = None, np.zeros(self.robot.n)
            return
        self.problem = GRAVITY_COMPENSATION
        q, qd = np.array([state[:2] for state in self._get_joint_states()]).T
        gravity = self._gravity_torque(q)
        self.applied_torque = np.clip(gravity, -self.robot.effort, self.robot.effort)
        # a motor that stops the joint with a force proportional to its speed is a damper that is
        # stable for any inertia
        damping = WATCHDOG_DAMPING * self.robot.effort * np.abs(qd)
        self._set_velocity_motors(self.friction.coulomb + damping)
        self._set_motors(pybullet.TORQUE_CONTROL, forces=self.applied_torque.tolist())

    def _gravity_torque(self, q: Array) -> Array:
        zero = np.zeros(self.robot.n)
        return self.robot.inverse_dynamics(q, zero, zero)

    def _brake(self) -> None:
        self.problem = BRAKES
        self._set_velocity_motors(BRAKE_FACTOR * self.robot.effort)

    def _set_velocity_motors(self, force: Array) -> None:
        self._set_motors(
            pybullet.VELOCITY_CONTROL,
            targetVelocities=[0.0] * self.robot.n,
            forces=force.tolist(),
        )
