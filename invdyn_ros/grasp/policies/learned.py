"""Learned grasp policies in the live graph, on joint states and block detections.

Observation and action space are those of the training environment. The policy acts only on
inputs as in training: exactly one detected block, of the right size and within the area of the
training. Otherwise the arm stops or moves home. Once the camera sees that the block is placed, or
after the time limit, the arm retreats and goes home.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from invdyn_ros.control.motion_profile import State
from invdyn_ros.grasp.estimation.block_estimate import BlockDetection
from invdyn_ros.grasp.estimation.detection_gating import DetectionGate, training_area
from invdyn_ros.grasp.policies.action_space import JointTarget
from invdyn_ros.grasp.policies.grasp_command import BLOCK_NOT_DETECTED, DONE, GraspCommand
from invdyn_ros.grasp.policies.network import Policy, PolicyMetadata, load_policy
from invdyn_ros.grasp.policies.observation import ObservationBuilder
from invdyn_ros.grasp.policies.planned import load_planned_policy
from invdyn_ros.grasp.policies.retreat import Retreat
from invdyn_ros.grasp.policies.success import is_at_goal, is_static
from invdyn_ros.grasp.policies.velocity_action_spaces import make_action_space
from invdyn_ros.models.checkpoint_files import is_checkpoint
from invdyn_ros.models.planner.planner import PLANNER
from invdyn_ros.robots.robot import Robot
from invdyn_ros.robots.scene import OPEN_WIDTH_RATIO, Scene
from invdyn_ros.typing import Array

DETECTION_TIMEOUT = 5.0  # [s] for a block that is not grasped; a gripper hides it for up to 3 s
MAX_SECONDS = 16.0  # without a placed block since it was first detected; as in simulation
PLACED_TIME = 1.0  # [s] of a released block at its goal; simulated episodes end before
HOMING_SPEED_FRACTION = 0.3  # speed on the way home over that of the fastest action
MAX_START_SPEED = 1e-6  # [rad/s] of an arm at rest
TIME_OVER = f"gave up: the block was not placed within {MAX_SECONDS:.0f} s"
STAMP_TOLERANCE = 1e-4  # [s] by which rounding may move a joint state before a period's end


class LearnedGrasp:
    """Run a policy once per action period and keep its target in between."""

    def __init__(self, robot: Robot, scene: Scene, policy: Policy) -> None:
        """Create the grasp.

        Args:
            robot: the arm.
            scene: nominal scene: camera, block size, goal.
            policy: a policy that was trained for the arm.

        Raises:
            ValueError: the policy is for another arm, observation or action space.
        """
        meta = policy.meta
        self.robot, self.policy, self.scene = robot, policy, scene
        self.action_space = make_action_space(meta.control_mode, robot, meta.action_space)
        self.observation_builder = ObservationBuilder(robot, scene, self.action_space.size)
        check_policy_spaces(
            meta, robot.name, self.observation_builder.size, self.action_space.size
        )
        self.detection_gate = DetectionGate(scene, training_area(scene))
        self.reset()

    def reset(self) -> None:
        """Start an episode."""
        self.policy.reset()
        self.observation_builder.reset()
        self.detection_gate.reset()
        self.target: JointTarget | None = None
        self.target_time = 0.0
        self.hold_reason: str | None = BLOCK_NOT_DETECTED
        self.last_detection_time = -np.inf  # [s]
        self.start_time: float | None = None  # [s] of the first detection
        self.placed_since: float | None = None  # [s]
        self.retreat: Retreat | None = None

    def on_detection(self, detection: BlockDetection) -> None:
        """Process a detection of the block, which is ignored while the block is grasped."""
        if self.observation_builder.grasped:
            self.detection_gate.clear(detection.time)
        elif self.detection_gate.accept(detection):
            self.observation_builder.on_detection(detection)
        else:
            self.observation_builder.estimate.clear()

    def on_invalid_image(self, time: float, reason: str) -> None:
        """Process an image of a time [s] in which the detection of the block is ambiguous."""
        self.detection_gate.reject(time, reason)
        if not self.observation_builder.grasped:
            self.observation_builder.estimate.clear()

    def on_no_detection(self, time: float) -> None:
        """Process an image of a time [s] without a block."""
        self.detection_gate.clear(time)

    def update_joints(self, q: Array, qd: Array) -> None:
        """Set the measured joints.

        Args:
            q: (n,) joint positions [rad].
            qd: (n,) joint velocities [rad/s]; empty if the arm does not measure them.
        """
        self.q, self.qd = q, qd

    def command(self, time: float, opening: float, control_period: float) -> GraspCommand:
        """Return the desired state at the end of the action period, after `update_joints`.

        Args:
            time: present time [s].
            opening: measured distance between the finger pads [m].
            control_period: control period of the arm [s].
        """
        if self.retreat is not None:
            phase = DONE if time >= self.retreat.end else "retreat"
            state, opening = self.retreat.at(time + control_period)
            return GraspCommand(state, opening, phase, self.hold_reason)
        period = self.action_space.config.action_period
        if self.target is None:
            self.action_space.reset(self.q)
            self.target_time = time
        if self.target is None or time >= self.target_time - STAMP_TOLERANCE:
            self.target_time = max(self.target_time, time - period) + period
            self.target = self._next_target(time, opening)
        horizon = max(self.target_time - time, control_period)
        return GraspCommand(
            self.target.state, self.target.opening, "learned", self.hold_reason, horizon
        )

    def _next_target(self, time: float, opening: float) -> JointTarget:
        action_space, builder = self.action_space, self.observation_builder
        proprioception = builder.proprioception(
            time, self.q, self.qd, opening, action_space.target
        )
        rejection = self.detection_gate.reason
        self.hold_reason = rejection or self._detection_problem(time)
        if self.hold_reason is not None:
            self.policy.reset()  # discards the present plan of a planner
        if rejection is not None:
            return self._stop(self.target.opening if self.target else opening)
        if self._is_over(time, opening):
            return self._end(time)
        if self.hold_reason is not None:
            return self._move_home()
        observation = np.concatenate([proprioception, builder.block_features(time)])
        builder.previous_action = self.policy.act(observation).astype(float)
        return action_space(builder.previous_action, self.q)

    def _is_over(self, time: float, opening: float) -> bool:
        """Return whether the block is placed, as the camera sees it, or the time is over."""
        builder, goal = self.observation_builder, np.array(self.scene.goal)
        if builder.estimate.count and self.start_time is None:
            self.start_time = time
        near = is_at_goal(builder.estimate.position, goal)
        is_open = opening > OPEN_WIDTH_RATIO * self.scene.block_size
        released = near and is_open and not builder.grasped
        if not (builder.estimate.count and released and is_static(self.action_space.target.qd)):
            self.placed_since = None
        elif self.placed_since is None:
            self.placed_since = time
        if self.placed_since is not None and time - self.placed_since >= PLACED_TIME:
            return True
        return self.start_time is not None and time - self.start_time >= MAX_SECONDS

    def _end(self, time: float) -> JointTarget:
        """Brake, and retreat once the arm is at rest."""
        opening = self.action_space.max_opening
        target = self.action_space.stop(opening, self.q)
        if np.abs(target.state.qd).max() < MAX_START_SPEED:
            self.retreat = Retreat(self.robot, target.state.q, self.target_time)
            self.hold_reason = None if self.placed_since is not None else TIME_OVER
        return target

    def _detection_problem(self, time: float) -> str | None:
        """Return why the position of the block is unknown, None if it is known."""
        builder = self.observation_builder
        if builder.grasped:
            self.last_detection_time = time
            return None
        if not builder.estimate.count:
            return BLOCK_NOT_DETECTED
        self.last_detection_time = max(self.last_detection_time, builder.estimate.time)
        expired = time - self.last_detection_time > DETECTION_TIMEOUT
        return BLOCK_NOT_DETECTED if expired else None

    def _stop(self, opening: float) -> JointTarget:
        """Brake and keep the gripper opening [m], because it may hold the block."""
        gripper = 2 * opening / self.action_space.max_opening - 1
        action = np.append(np.zeros(self.action_space.size - 1), gripper)
        self.observation_builder.previous_action = action
        return self.action_space.stop(opening, self.q)

    def _move_home(self) -> JointTarget:
        """Open the gripper and move slowly home, where the camera sees the whole table."""
        zero = np.zeros(self.robot.n)
        home = State(self.robot.home, zero, zero)
        action = self.action_space.target_to_action(home, self.action_space.max_opening)
        action[:-1] *= HOMING_SPEED_FRACTION
        self.observation_builder.previous_action = action
        return self.action_space(action, self.q)


def check_policy_spaces(
    meta: PolicyMetadata, arm: str, observation_size: int, action_size: int
) -> None:
    """Check that a policy fits the spaces of an arm.

    Args:
        meta: metadata of the policy.
        arm: name of the arm.
        observation_size: size of an observation.
        action_size: size of an action.

    Raises:
        ValueError: another arm, or another size of observations or actions.
    """
    if meta.arm != arm:
        raise ValueError(f"a policy for '{meta.arm}', not for '{arm}'")
    actual, expected = (meta.observation_size, meta.action_size), (observation_size, action_size)
    if actual != expected:
        raise ValueError(
            f"a policy with {actual[0]} observations and {actual[1]} actions; '{arm}' has "
            f"{expected[0]} and {expected[1]}; train one with 'invdyn train_grasp --arm {arm}'"
        )


def load_learned_grasp(robot: Robot, scene: Scene, directory: str | Path) -> LearnedGrasp:
    """Return the grasp of a policy or planner.

    Args:
        robot: the arm.
        scene: nominal scene: camera, block size, goal.
        directory: a folder that `invdyn train_grasp` or `invdyn train_planner` wrote.

    Raises:
        ValueError: no policy or planner, or one for another arm, observation or action space.
    """
    load = load_planned_policy if is_checkpoint(directory, PLANNER) else load_policy
    policy: Policy = load(directory, robot.name)
    try:
        return LearnedGrasp(robot, scene, policy)
    except ValueError as error:
        raise ValueError(f"{directory} is {error}") from None
