"""The learned grasp in the live graph: joint states and sightings enter, wanted states leave.

Observer and steering are those of the environment, so the same numbers mean the same here. A
policy is asked about nothing that it has not learned: it acts only on a block that is seen, once,
of the right size and near where it learned to grasp.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from invdyn_ros.control.safety_limits import State
from invdyn_ros.grasp.estimation.block_estimate import BlockDetection
from invdyn_ros.grasp.estimation.detection_gating import DetectionGate, training_area
from invdyn_ros.grasp.policies.action_space import JointTarget, make_action_space
from invdyn_ros.grasp.policies.network import Policy, PolicyMetadata, load_policy
from invdyn_ros.grasp.policies.observation import ObservationBuilder
from invdyn_ros.grasp.policies.planned import load_planned_policy
from invdyn_ros.grasp.policies.scripted import BLOCK_NOT_DETECTED, GraspCommand
from invdyn_ros.models.checkpoint import is_checkpoint
from invdyn_ros.models.planner.planner import PLANNER
from invdyn_ros.robots.robot import Robot
from invdyn_ros.robots.scene import Scene
from invdyn_ros.typing import Array

DETECTION_TIMEOUT = (
    5.0  # [s] without a sighting of a block that is not held; grippers hide it up to 3 s
)
HOMING_SPEED_FRACTION = 0.3  # share of the fastest actions with which the arm goes home
EARLY = 1e-4  # [s] by which a joint state may come before its period is over: stamps are rounded


class LearnedGrasp:
    """Asks a policy once per period; in between, what it wanted stays wanted."""

    def __init__(self, robot: Robot, scene: Scene, policy: Policy) -> None:
        """Make a grasp.

        Raises:
            ValueError: the policy is of another arm, or of other observations or actions.
        """
        meta = policy.meta
        self.robot, self.policy = robot, policy
        self.action_space = make_action_space(meta.control_mode, robot, meta.action_space)
        self.observation_builder = ObservationBuilder(robot, scene, self.action_space.size)
        check_compatible(meta, robot.name, self.observation_builder.size, self.action_space.size)
        self.detection_gate = DetectionGate(scene, training_area(scene))
        self.reset()

    def reset(self) -> None:
        """Begin an episode."""
        self.policy.reset()
        self.observation_builder.reset()
        self.detection_gate.reset()
        self.target: JointTarget | None = None
        self.target_time = 0.0
        self.hold_reason: str | None = BLOCK_NOT_DETECTED
        self.last_detection_time = -np.inf  # [s] when it was known last where the block is

    def on_detection(self, sighting: BlockDetection) -> None:
        """Take a detection of the block; one that the gripper holds is not on the table."""
        if self.observation_builder.grasped:
            self.detection_gate.clear(sighting.time)
        elif self.detection_gate.accept(sighting):
            self.observation_builder.on_detection(sighting)
        else:
            self.observation_builder.estimate.clear()

    def on_invalid_image(self, time: float, reason: str) -> None:
        """Take a picture of a time [s] in which the block cannot be told."""
        self.detection_gate.reject(time, reason)
        if not self.observation_builder.grasped:
            self.observation_builder.estimate.clear()

    def on_no_detection(self, time: float) -> None:
        """Take a picture of a time [s] without a block."""
        self.detection_gate.clear(time)

    def update_joints(self, q: Array, qd: Array) -> None:
        """Take the joints: q (n,) [rad], qd (n,) [rad/s] or empty where none is measured."""
        self.q, self.qd = q, qd

    def command(self, time: float, opening: float, control_period: float) -> GraspCommand:
        """Return what is wanted at the end of the present period; call `measure` before.

        Args:
            time: now [s].
            opening: measured distance of the finger pads [m].
            ahead: the arm's control period [s].
        """
        period = self.action_space.config.action_period
        if self.target is None:
            self.action_space.reset(self.q)
            self.target_time = time
        if self.target is None or time >= self.target_time - EARLY:
            self.target_time = max(self.target_time, time - period) + period
            self.target = self._decide(time, opening)
        horizon = max(self.target_time - time, control_period)
        return GraspCommand(
            self.target.state, self.target.opening, "learned", self.hold_reason, horizon
        )

    def _decide(self, time: float, opening: float) -> JointTarget:
        action_space, observation_builder = self.action_space, self.observation_builder
        joints = observation_builder.proprioception(
            time, self.q, self.qd, opening, action_space.target
        )
        self.hold_reason = self.detection_gate.reason or self._unseen(time)
        if self.hold_reason is not None:
            self.policy.reset()  # what it had in mind is over
        if self.detection_gate.reason is not None:
            return self._halt(self.target.opening if self.target else opening)
        if self.hold_reason is not None:
            return self._go_home()
        action = self.policy.act(
            np.concatenate([joints, observation_builder.block_features(time)])
        )
        observation_builder.previous_action = action.astype(float)
        return action_space(observation_builder.previous_action, self.q)

    def _unseen(self, time: float) -> str | None:
        """Return why the block's place is not known, None if it is."""
        if self.observation_builder.grasped:
            self.last_detection_time = time
            return None
        if not self.observation_builder.estimate.count:
            return BLOCK_NOT_DETECTED
        self.last_detection_time = max(
            self.last_detection_time, self.observation_builder.estimate.time
        )
        return BLOCK_NOT_DETECTED if time - self.last_detection_time > DETECTION_TIMEOUT else None

    def _halt(self, opening: float) -> JointTarget:
        """Brake, and leave the gripper as it is: it may hold the block."""
        self.observation_builder.previous_action = np.append(
            np.zeros(self.action_space.size - 1),
            2 * opening / self.action_space.max_opening - 1,
        )
        return self.action_space.stop(opening, self.q)

    def _go_home(self) -> JointTarget:
        """Open the gripper and go, slowly, where the camera sees the whole table."""
        still = np.zeros(self.robot.n)
        action = self.action_space.target_to_action(
            State(self.robot.home, still, still), self.action_space.max_opening
        )
        action[:-1] *= HOMING_SPEED_FRACTION
        self.observation_builder.previous_action = action
        return self.action_space(action, self.q)


def check_compatible(meta: PolicyMetadata, arm: str, observation: int, action: int) -> None:
    """Refuse a policy that is not for a grasp.

    Args:
        meta: of the policy.
        arm: name of the arm.
        observation: entries of an observation.
        action: entries of an action.

    Raises:
        ValueError: another arm, or another size of observations or actions.
    """
    if meta.arm != arm:
        raise ValueError(f"a policy of '{meta.arm}', not of '{arm}'")
    found, expected = (meta.observation_size, meta.action_size), (observation, action)
    if found != expected:
        raise ValueError(
            f"a policy with observations of {found[0]} and actions of {found[1]} numbers; those "
            f"of '{arm}' have {expected[0]} and {expected[1]}; train one with 'invdyn train_grasp "
            f"--arm {arm}'"
        )


def load_learned_grasp(robot: Robot, scene: Scene, directory: str | Path) -> LearnedGrasp:
    """Return the grasp of a folder that `invdyn train_grasp` or `train_planner` wrote.

    Raises:
        ValueError: nothing such there, or of something else.
    """
    read = load_planned_policy if is_checkpoint(directory, PLANNER) else load_policy
    policy: Policy = read(directory, robot.name)
    try:
        return LearnedGrasp(robot, scene, policy)
    except ValueError as error:
        raise ValueError(f"{directory} is {error}") from None
