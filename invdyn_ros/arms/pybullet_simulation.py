"""Simulation of an arm in PyBullet at its control rate, with actuator delay and sensor noise.

The plant deliberately differs from the model, see `robots.plant`.
"""

import math
from collections import deque
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from invdyn_ros.arms.joint_drive import JointDrive
from invdyn_ros.arms.joint_sensors import JointSensors
from invdyn_ros.arms.pybullet_arm import add_arm, apply_plant, push_tip
from invdyn_ros.arms.pybullet_client import connect, pybullet
from invdyn_ros.arms.pybullet_obstacles import Contact, add_obstacles, find_contacts
from invdyn_ros.robots.obstacles import Obstacles
from invdyn_ros.robots.plant import PlantConfig
from invdyn_ros.robots.registry import load_arm_obstacles, load_plant
from invdyn_ros.robots.robot import Robot
from invdyn_ros.robots.scene import Scene
from invdyn_ros.typing import Array, Mask

if TYPE_CHECKING:
    from invdyn_ros.arms.simulated_blocks import SimulatedBlocks

SIMULATED_UNITS = ("N m", "rad")
NO_PUSH = np.zeros(6)
GRIPPER_GAIN = 100.0  # [1/s] velocity of a finger per position error


class JointSample(NamedTuple):
    """Measured joint state.

    Attributes:
        time: simulated time since the reset [s].
        q: (n,) position [rad].
        qd: (n,) velocity [rad/s]; empty if the arm does not measure it.
        effort: (n,) torque [N m]; empty if the arm does not measure it.
        opening: distance between the finger pads [m]; zero without a gripper.
    """

    time: float
    q: Array
    qd: Array
    effort: Array
    opening: float


def steps_per_tick(physics_rate: float, rate: float) -> int:
    """Return the integration steps in each control tick.

    Raises:
        ValueError: the physics rate [Hz] is no multiple of the rate of the arm [Hz].
    """
    steps = physics_rate / rate
    if abs(steps - round(steps)) > 1e-9 or round(steps) < 1:
        raise ValueError(
            f"physics_rate {physics_rate} Hz is no multiple of the arm's rate {rate} Hz"
        )
    return round(steps)


class Simulation(AbstractContextManager["Simulation"]):
    """An arm, its obstacles and optionally blocks, in their own PyBullet world.

    Attributes:
        obstacles: table and boxes, which are solid.
        contact_ticks: control steps since the reset in which the arm touched an obstacle or
            itself.
        push: (6,) force [N] and torque [N m] on the tip, along the axes of the base, such as those
            of a hand; set from outside, zero after a reset.
    """

    def __init__(
        self,
        robot: Robot,
        plant: PlantConfig | None = None,
        unit: str | None = None,
        scene: Scene | None = None,
        gui: bool = False,
        seed: int = 0,
        obstacles: Obstacles | None = None,
    ) -> None:
        """Create the world and start the first episode.

        Args:
            robot: the arm.
            plant: parameters of the simulated arm; default: those of its entry.
            unit: unit of the commands, "N m" or "rad"; by default that of the arm.
            scene: block and camera at the arm; None: the arm and its obstacles.
            gui: whether to open a window, which needs a display.
            seed: seed of the sensor noise and the block pose.
            obstacles: table and boxes; by default those of the arm. A scene always has a table.

        Raises:
            ValueError: the unit cannot be simulated, or the physics rate is no multiple of the
                arm's rate.
        """
        plant = plant or load_plant(robot.name)
        self.robot, self.plant, self.scene = robot, plant, scene
        self.unit = unit or robot.action_unit
        if self.unit not in SIMULATED_UNITS:
            raise ValueError(
                f"cannot simulate actions in '{self.unit}'; known units: {SIMULATED_UNITS}"
            )
        self.substeps = steps_per_tick(plant.physics_rate, robot.rate)
        self.client = connect(gui)
        self.client.setGravity(0, 0, -9.81)
        self.client.setTimeStep(1 / plant.physics_rate)
        self.client.setPhysicsEngineParameter(deterministicOverlappingPairs=1)
        self.arm = add_arm(self.client, robot, plant)
        self._applied_plant = plant
        self.body, self.joints, self.fingers = self.arm[:3]
        self.drive = JointDrive(self.client, self.arm, robot, self.unit)
        # bind once: each attribute access of the client creates a new function
        self._get_joint_states = partial(
            self.client.getJointStates, self.body, self.joints + self.fingers
        )
        self._step_physics = self.client.stepSimulation
        self.obstacles = load_arm_obstacles(robot.name) if obstacles is None else obstacles
        if scene is not None:
            self.obstacles = replace(self.obstacles, table=True)
        bodies = add_obstacles(self.client, self.arm, self.obstacles)
        self._find_contacts = partial(find_contacts, self.client, self.arm, bodies)
        self.blocks: SimulatedBlocks | None = None
        if scene is not None and scene.num_blocks:
            from invdyn_ros.arms import simulated_blocks  # slow to import

            self.blocks = simulated_blocks.SimulatedBlocks(self.client, scene)
        self.reset(seed)

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Disconnect from the PyBullet world."""
        self.client.disconnect()

    def reset(self, seed: int = 0, q: Array | None = None) -> None:
        """Start a new episode at time zero with the arm at rest and the block at a random pose.

        Changes of `plant` and `scene` take effect. The same seed gives the same run.

        Args:
            seed: seed of the sensor noise and the block pose.
            q: (n,) initial joint positions [rad]; home by default.
        """
        self.rng = np.random.default_rng(seed)
        if self.plant != self._applied_plant:
            apply_plant(self.client, self.arm, self.robot, self.plant)
            self._applied_plant = self.plant
        start = self.robot.home if q is None else np.asarray(q, float)
        for j, position in zip(self.joints, start, strict=True):
            self.client.resetJointState(self.body, j, position, 0.0)
        gripper = self.robot.gripper
        max_opening = gripper.max_opening if gripper else 0.0
        positions = gripper.positions(max_opening) if gripper else []
        for finger, position in zip(self.fingers, positions, strict=True):
            self.client.resetJointState(self.body, finger, position, 0.0)
        self.commanded_opening = np.nan
        self._command_gripper(max_opening)
        self.ticks = 0
        self.push = NO_PUSH
        self.delayed_commands: deque[Array | None] = deque(
            [None] * round(self.plant.delay * self.plant.physics_rate)
        )
        self.sensors = JointSensors(start, self.rng)
        self.drive.reset(self.plant)
        self.contact_ticks = 0
        self._contacts: tuple[Contact, ...] = ()
        self.place_blocks()
        self._measure()

    @property
    def time(self) -> float:
        """Simulated time since the reset [s]."""
        return self.ticks / self.robot.rate

    def step(self, command: Array | None, opening: float | None = None) -> JointSample:
        """Advance the simulation by one control step.

        Args:
            command: (n,) action in `unit`; None: no command arrived in this step, and the drives
                keep the last one for as long as their watchdog permits, see `JointDrive`.
            opening: gripper opening to command [m]; None keeps the previous command.

        Returns:
            The measured state after the step.

        Raises:
            ValueError: the command has the wrong size or is not finite.
        """
        if command is not None:
            command = np.asarray(command, float)
            if command.shape != (self.robot.n,) or not math.isfinite(command.sum()):
                raise ValueError(f"command must be {self.robot.n} finite numbers, got {command}")
        if opening is not None and self.robot.gripper:
            self._command_gripper(min(max(float(opening), 0.0), self.robot.gripper.max_opening))
        for substep in range(self.substeps):
            self.delayed_commands.append(None if substep else command)
            self.drive.actuate(self.delayed_commands.popleft())
            if self.push is not NO_PUSH:
                push_tip(self.client, self.arm, self.push)
            self._step_physics()
        self.ticks += 1
        self._contacts = self._find_contacts()
        self.contact_ticks += bool(self._contacts)
        self._measure()
        return self.state()

    def state(self) -> JointSample:
        """Return the latest measured state."""
        return self._sample

    def true_state(self) -> tuple[Array, Array]:
        """Return position [rad] and velocity [rad/s] without noise, (n,) each."""
        q, qd = self._true_state
        return q.copy(), qd.copy()

    def contacts(self) -> tuple[Contact, ...]:
        """Return the contacts of the arm with obstacles and itself at the end of the last step."""
        return self._contacts

    @property
    def problem(self) -> str | None:
        """What is wrong with the arm: a contact, or drives without a command; None if nothing."""
        if self._contacts:
            link, other, _ = self._contacts[0]
            return f"contact: {link} with {other}"
        return self.drive.problem

    def _read_state(self) -> tuple[Array, Array, float]:
        """Return position [rad] and velocity [rad/s] without noise, (n,) each, and opening [m]."""
        states, n = self._get_joint_states(), self.robot.n
        q, qd = np.array([(s[0], s[1]) for s in states[:n]]).T
        gripper = self.robot.gripper
        return q, qd, gripper.opening([s[0] for s in states[n:]]) if gripper else 0.0

    def block_pose(self, block: int | None = None) -> tuple[Array, Array]:
        """Return a block's true position (3,) [m] and orientation (4,) xyzw in the base frame.

        Args:
            block: index of the block; None: the block to grasp.

        Raises:
            ValueError: there is no block.
        """
        if self.blocks is None:
            raise ValueError("this simulation has no scene, hence no block")
        return self.blocks.pose(self.blocks.target if block is None else block)

    def block_poses(self) -> list[tuple[Array, Array]]:
        """Return the true poses of all blocks; see `block_pose`."""
        bodies = self.blocks.bodies if self.blocks else ()
        return [self.block_pose(block) for block in range(len(bodies))]

    def place_blocks(self) -> None:
        """Move all blocks to random poses, if there are any."""
        if self.scene is not None and self.blocks is not None:
            self.blocks.place(self.scene, self.rng)

    def occluded(self, eye: Array, points: Array) -> Mask:
        """Return which points (N, 3) [m] of the block to grasp are hidden from `eye` (3,) [m]."""
        if self.blocks is None:
            raise ValueError("this simulation has no scene, hence no block")
        return self.blocks.occluded(self.body, self.blocks.target, eye, points)

    def is_grasping(self, block: int | None = None) -> bool:
        """Return whether all fingers touch a block; None: the block to grasp."""
        if self.blocks is None:
            return False
        body = self.blocks.bodies[self.blocks.target if block is None else block]
        return bool(self.fingers) and all(
            self.client.getContactPoints(self.body, body, finger) for finger in self.fingers
        )

    def _command_gripper(self, opening: float) -> None:
        """Set the target opening of the gripper [m]."""
        gripper, plant = self.robot.gripper, self.plant
        if opening == self.commanded_opening or gripper is None:
            return
        self.commanded_opening = opening
        for finger, position in zip(self.fingers, gripper.positions(opening), strict=True):
            self.client.setJointMotorControl2(
                self.body,
                finger,
                pybullet.POSITION_CONTROL,
                targetPosition=position,
                force=plant.gripper_force,
                maxVelocity=plant.gripper_speed,
                positionGain=GRIPPER_GAIN / plant.physics_rate,
            )

    def _measure(self) -> None:
        q, qd, opening = self._read_state()
        self._true_state = q, qd
        q, qd = self.sensors.measure(q, qd, self.plant)
        effort = self.drive.applied_torque.copy() if self.unit == "N m" else np.empty(0)
        self._sample = JointSample(self.time, q, qd, effort, opening)
