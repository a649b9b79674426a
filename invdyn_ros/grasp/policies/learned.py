"""The learned grasp in the live graph: joint states and sightings enter, wanted states leave.

Observer and steering are those of the environment, so the same numbers mean the same here. A
policy is asked about nothing that it has not learned: it acts only on a block that is seen, once,
of the right size and near where it learned to grasp.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from invdyn_ros.arms.scene import Scene
from invdyn_ros.control.safety_limits import State
from invdyn_ros.grasp.estimation.block_estimate import BlockDetection
from invdyn_ros.grasp.estimation.detection_gating import DetectionGate, learned_area
from invdyn_ros.grasp.policies.action_space import JointTarget, load_steering
from invdyn_ros.grasp.policies.network import Policy, PolicyMetadata, load_policy
from invdyn_ros.grasp.policies.observation import ObservationBuilder
from invdyn_ros.grasp.policies.planned import load_planned
from invdyn_ros.grasp.policies.scripted import NOT_SEEN, GraspCommand
from invdyn_ros.models.checkpoint import is_of
from invdyn_ros.models.planner.planner import PLANNER
from invdyn_ros.robots.robot import Robot
from invdyn_ros.typing import Array

LOST = 5.0  # [s] without a sighting of a block that is not held; grippers hide it up to 3 s
HOMING = 0.3  # share of the fastest actions with which the arm goes home
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
        self.steering = load_steering(meta.control_mode, robot, meta.action_space)
        self.observer = ObservationBuilder(robot, scene, self.steering.size)
        check_fit(meta, robot.name, self.observer.size, self.steering.size)
        self.doubts = DetectionGate(scene, learned_area(scene))
        self.reset()

    def reset(self) -> None:
        """Begin an episode."""
        self.policy.reset()
        self.observer.reset()
        self.doubts.reset()
        self.step: JointTarget | None = None
        self.until = 0.0
        self.problem: str | None = NOT_SEEN
        self.known = -np.inf  # [s] when it was known last where the block is

    def see(self, sighting: BlockDetection) -> None:
        """Take a detection of the block; one that the gripper holds is not on the table."""
        if self.observer.held:
            self.doubts.clear(sighting.time)
        elif self.doubts.accept(sighting):
            self.observer.see(sighting)
        else:
            self.observer.estimate.clear()

    def on_invalid_image(self, time: float, reason: str) -> None:
        """Take a picture of a time [s] in which the block cannot be told."""
        self.doubts.refuse(time, reason)
        if not self.observer.held:
            self.observer.estimate.clear()

    def on_no_detection(self, time: float) -> None:
        """Take a picture of a time [s] without a block."""
        self.doubts.clear(time)

    def measure(self, q: Array, qd: Array) -> None:
        """Take the joints: q (n,) [rad], qd (n,) [rad/s] or empty where none is measured."""
        self.q, self.qd = q, qd

    def command(self, time: float, opening: float, ahead: float) -> GraspCommand:
        """Return what is wanted at the end of the present period; call `measure` before.

        Args:
            time: now [s].
            opening: measured distance of the finger pads [m].
            ahead: the arm's control period [s].
        """
        period = self.steering.config.period
        if self.step is None:
            self.steering.reset(self.q)
            self.until = time
        if self.step is None or time >= self.until - EARLY:
            self.until = max(self.until, time - period) + period
            self.step = self._decide(time, opening)
        horizon = max(self.until - time, ahead)
        return GraspCommand(self.step.state, self.step.opening, "learned", self.problem, horizon)

    def _decide(self, time: float, opening: float) -> JointTarget:
        steering, observer = self.steering, self.observer
        joints = observer.joints(time, self.q, self.qd, opening, steering.wanted)
        self.problem = self.doubts.reason or self._unseen(time)
        if self.problem is not None:
            self.policy.reset()  # what it had in mind is over
        if self.doubts.reason is not None:
            return self._halt(self.step.opening if self.step else opening)
        if self.problem is not None:
            return self._go_home()
        action = self.policy.act(np.concatenate([joints, observer.block(time)]))
        observer.previous = action.astype(float)
        return steering(observer.previous, self.q)

    def _unseen(self, time: float) -> str | None:
        """Return why the block's place is not known, None if it is."""
        if self.observer.held:
            self.known = time
            return None
        if not self.observer.estimate.count:
            return NOT_SEEN
        self.known = max(self.known, self.observer.estimate.time)
        return NOT_SEEN if time - self.known > LOST else None

    def _halt(self, opening: float) -> JointTarget:
        """Brake, and leave the gripper as it is: it may hold the block."""
        self.observer.previous = np.append(
            np.zeros(self.steering.size - 1),
            2 * opening / self.steering.opening - 1,
        )
        return self.steering.halt(opening, self.q)

    def _go_home(self) -> JointTarget:
        """Open the gripper and go, slowly, where the camera sees the whole table."""
        still = np.zeros(self.robot.n)
        action = self.steering.toward(State(self.robot.home, still, still), self.steering.opening)
        action[:-1] *= HOMING
        self.observer.previous = action
        return self.steering(action, self.q)


def check_fit(meta: PolicyMetadata, arm: str, observation: int, action: int) -> None:
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


def load_learned(robot: Robot, scene: Scene, directory: str | Path) -> LearnedGrasp:
    """Return the grasp of a folder that `invdyn train_grasp` or `train_planner` wrote.

    Raises:
        ValueError: nothing such there, or of something else.
    """
    read = load_planned if is_of(directory, PLANNER) else load_policy
    policy: Policy = read(directory, robot.name)
    try:
        return LearnedGrasp(robot, scene, policy)
    except ValueError as error:
        raise ValueError(f"{directory} is {error}") from None
