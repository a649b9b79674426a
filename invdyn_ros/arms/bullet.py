"""A simulated arm in PyBullet: commands enter, noisy joint states leave, at the arm's own rate.

The plant is deliberately not the model: see `arms.plant`.
"""

import xml.etree.ElementTree as ET
from collections import deque
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

import numpy as np
import pybullet
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from invdyn_ros.arms.plant import PlantConfig
from invdyn_ros.arms.scene import Scene, add_block, add_table
from invdyn_ros.arms.world import connect
from invdyn_ros.robot import Robot

UNITS = ("N m", "rad")
BRAKE_FACTOR = 2.0  # a brake holds twice the joint's rated effort


class JointSample(NamedTuple):
    """What the arm measures at one instant.

    Attributes:
        time: simulated time since the reset [s].
        q: (n,) position [rad].
        qd: (n,) velocity [rad/s], empty where the arm measures none.
        effort: (n,) torque [N m], empty where the arm measures none.
        opening: distance between the finger pads [m], zero without a gripper.
    """

    time: float
    q: NDArray[np.float64]
    qd: NDArray[np.float64]
    effort: NDArray[np.float64]
    opening: float


class Simulation:
    """One arm, and optionally a table with a block, in a physics world of its own."""

    def __init__(
        self,
        robot: Robot,
        plant: PlantConfig,
        unit: str | None = None,
        scene: Scene | None = None,
        gui: bool = False,
        seed: int = 0,
    ) -> None:
        self.robot, self.plant, self.scene = robot, plant, scene
        self.unit = unit or robot.action_unit
        if self.unit not in UNITS:
            raise ValueError(f"cannot simulate actions in '{self.unit}'; known units: {UNITS}")
        steps = plant.physics_rate / robot.rate
        self.substeps = round(steps)
        if abs(steps - self.substeps) > 1e-9 or self.substeps < 1:
            raise ValueError(
                f"physics_rate {plant.physics_rate} Hz is no multiple of the arm's rate "
                f"{robot.rate} Hz"
            )
        self.client = connect(gui)
        self.client.setGravity(0, 0, -9.81)
        self.client.setTimeStep(1 / plant.physics_rate)
        self.client.setPhysicsEngineParameter(deterministicOverlappingPairs=1)
        self._build()
        self.reset(seed)

    def __enter__(self) -> "Simulation":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Free the physics world."""
        self.client.disconnect()

    def _build(self) -> None:
        """Load the arm and give it the plant's inertia, payload and friction."""
        client, plant = self.client, self.plant
        self.body = client.loadURDF(
            str(self.robot.urdf), useFixedBase=True, flags=pybullet.URDF_USE_INERTIA_FROM_FILE
        )
        info = [client.getJointInfo(self.body, j) for j in range(client.getNumJoints(self.body))]
        joint = {row[1].decode(): row[0] for row in info}
        link = {row[12].decode(): row[0] for row in info}
        self.joints = [joint[name] for name in self.robot.joint_names]
        self.fingers = (
            [joint[name] for name in self.robot.gripper.joints] if (self.robot.gripper) else []
        )
        self.rotor = plant.rotor_inertia * self.robot.effort  # (n,) [kg m2]
        self.coulomb = plant.coulomb * self.robot.effort  # (n,) [N m]
        self.viscous = plant.viscous * self.robot.effort  # (n,) [N m s/rad]
        bare = _without_inertia(self.robot.urdf)
        for name, j in link.items():
            if name in bare:
                client.changeDynamics(self.body, j, mass=0)  # Bullet's default is 1 kg
            client.changeDynamics(
                self.body,
                j,
                linearDamping=0,
                angularDamping=0,
                jointDamping=0,
                maxJointVelocity=50,
            )
        for i, j in enumerate(self.joints):
            # The axis comes in the frame of the link's inertia, where the diagonal is.
            inertia, axis = client.getDynamicsInfo(self.body, j)[2], np.array(info[j][13])
            client.changeDynamics(
                self.body,
                j,
                jointDamping=self.viscous[i],
                localInertiaDiagonal=np.array(inertia) + self.rotor[i] * axis**2,
            )
        if plant.payload:
            tip = link[self.robot.tip_link]
            dynamics = client.getDynamicsInfo(self.body, tip)
            inertia = np.array(dynamics[2]) + 1e-4 * plant.payload  # a lump of about 3 cm
            mass = dynamics[0] + plant.payload
            client.changeDynamics(self.body, tip, mass=mass, localInertiaDiagonal=inertia)
        for finger in self.fingers:
            client.changeDynamics(
                self.body, finger, lateralFriction=1.0, spinningFriction=0.01, rollingFriction=1e-4
            )
        if len(self.fingers) == 2:
            self._couple()
        self.block: int | None = None
        if self.scene is not None:
            add_table(client)
            if self.scene.blocks:
                self.block = add_block(client, self.scene, np.eye(4))

    def reset(self, seed: int = 0, q: NDArray[np.float64] | None = None) -> None:
        """Put the arm at rest at `q` (n,) [rad] (home), the block anew, the time at zero.

        The same seed gives the same run.
        """
        self.random = np.random.default_rng(seed)
        start = self.robot.home if q is None else np.asarray(q, float)
        for j, position in zip(self.joints, start, strict=True):
            self.client.resetJointState(self.body, j, position, 0.0)
        self.opening = self.robot.gripper.max_opening if self.robot.gripper else 0.0
        for finger in self.fingers:
            self.client.resetJointState(self.body, finger, self.opening / 2, 0.0)
        self.ticks = 0
        self.pending: deque[NDArray[np.float64] | None] = deque(
            [None] * round(self.plant.delay * self.plant.physics_rate)
        )
        self._driven = False
        self._applied = np.zeros(self.robot.n)
        self._brake()
        if self.scene is not None:
            self._place_block(self.scene)
        self._measure()

    @property
    def time(self) -> float:
        """Simulated time since the reset [s]."""
        return self.ticks / self.robot.rate

    def step(
        self, command: NDArray[np.float64] | None, opening: float | None = None
    ) -> JointSample:
        """Advance one control tick with a command (n,) held; None puts the brakes on.

        Raises:
            ValueError: the command has another size or is not finite.
        """
        if command is not None:
            command = np.asarray(command, float)
            if command.shape != (self.robot.n,) or not np.isfinite(command).all():
                raise ValueError(f"command must be {self.robot.n} finite numbers, got {command}")
        if opening is not None and self.robot.gripper:
            self.opening = float(np.clip(opening, 0.0, self.robot.gripper.max_opening))
        for finger in self.fingers:
            self.client.setJointMotorControl2(
                self.body,
                finger,
                pybullet.POSITION_CONTROL,
                targetPosition=self.opening / 2,
                force=self.plant.gripper_force,
                maxVelocity=self.plant.gripper_speed,
                positionGain=0.1,
            )
        for _ in range(self.substeps):
            self.pending.append(command)
            self._actuate(self.pending.popleft())
            self.client.stepSimulation()
        self.ticks += 1
        self._measure()
        return self.state()

    def state(self) -> JointSample:
        """Return what the arm measures now."""
        return self._sample

    def truth(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the true position [rad] and velocity [rad/s], (n,) each, free of noise."""
        states = self.client.getJointStates(self.body, self.joints)
        return np.array([s[0] for s in states]), np.array([s[1] for s in states])

    def block_pose(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the block's true position (3,) [m] and orientation (4,) xyzw in the base frame.

        Raises:
            ValueError: there is no block.
        """
        if self.block is None:
            raise ValueError("this simulation has no scene, hence no block")
        position, orientation = self.client.getBasePositionAndOrientation(self.block)
        return np.array(position), np.array(orientation)

    def _couple(self) -> None:
        """Gear the fingers together, as a real gripper does: a held block stays centred."""
        gear = self.client.createConstraint(
            self.body,
            self.fingers[0],
            self.body,
            self.fingers[1],
            jointType=pybullet.JOINT_GEAR,
            jointAxis=[0, 1, 0],
            parentFramePosition=[0, 0, 0],
            childFramePosition=[0, 0, 0],
        )
        self.client.changeConstraint(gear, gearRatio=-1, erp=0.2, maxForce=1e4)

    def _place_block(self, scene: Scene) -> None:
        """Lay the block somewhere in the area, with the scene's mass and friction."""
        if self.block is None:
            return
        pose = scene.random_pose(self.random)
        position, quaternion = pose[:3, 3], Rotation.from_matrix(pose[:3, :3]).as_quat()
        self.client.resetBasePositionAndOrientation(self.block, position, quaternion)
        self.client.resetBaseVelocity(self.block, [0, 0, 0], [0, 0, 0])
        self.client.changeDynamics(
            self.block, -1, mass=scene.block_mass, lateralFriction=scene.friction
        )

    def _actuate(self, command: NDArray[np.float64] | None) -> None:
        """Apply torques for one physics step, or the brakes."""
        if command is None:
            if self._driven:
                self._brake()
            self._driven = False
            self._applied = np.zeros(self.robot.n)
            return
        if not self._driven:
            # Bullet solves a zero-velocity motor of limited force implicitly: dry friction.
            self._motors(self.coulomb)
            self._driven = True
        torque = command if self.unit == "N m" else self._servo(command)
        self._applied = np.clip(torque, -self.robot.effort, self.robot.effort)
        self.client.setJointMotorControlArray(
            self.body, self.joints, pybullet.TORQUE_CONTROL, forces=self._applied.tolist()
        )

    def _servo(self, setpoint: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the torque (n,) [N m] of position servos: springs with damping."""
        plant = self.plant
        quantum = plant.encoder_step
        goal = np.round(setpoint / quantum) * quantum if quantum else setpoint
        goal = np.clip(goal, self.robot.lower, self.robot.upper)
        q, qd = self.truth()
        push: NDArray[np.float64] = plant.servo_stiffness * (goal - q) - plant.servo_damping * qd
        return push * self.robot.effort

    def _brake(self) -> None:
        self._motors(BRAKE_FACTOR * self.robot.effort)

    def _motors(self, force: NDArray[np.float64]) -> None:
        self.client.setJointMotorControlArray(
            self.body,
            self.joints,
            pybullet.VELOCITY_CONTROL,
            targetVelocities=[0.0] * self.robot.n,
            forces=force.tolist(),
        )

    def _measure(self) -> None:
        plant, n = self.plant, self.robot.n
        q, qd = self.truth()
        q = q + plant.position_noise * self.random.standard_normal(n)
        if plant.encoder_step:
            q = np.round(q / plant.encoder_step) * plant.encoder_step
        noise = self.random.standard_normal(n)
        qd = qd + plant.velocity_noise * noise if plant.velocity_noise >= 0 else np.empty(0)
        effort = self._applied.copy() if self.unit == "N m" else np.empty(0)
        states = self.client.getJointStates(self.body, self.fingers) if self.fingers else ()
        self._sample = JointSample(self.time, q, qd, effort, float(sum(s[0] for s in states)))


def _without_inertia(urdf: Path) -> set[str]:
    """Return the names of the links that a URDF gives no inertia: mere frames."""
    links = ET.parse(urdf).getroot().findall("link")
    return {link.get("name", "") for link in links if link.find("inertial") is None}
