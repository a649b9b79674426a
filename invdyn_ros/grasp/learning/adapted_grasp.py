"""Recorded grasps, adapted to other blocks and goals.

The path of the tool before a grip is kept relative to the block, and the one before a release
relative to the goal, as in MimicGen (Mandlekar et al. 2023, arXiv 2310.17596). Pauses are left
out: the tool follows the path as fast as its speed and its way to the next stop allow.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from invdyn_ros.grasp.envs.grasp_env import GraspEnv
from invdyn_ros.grasp.envs.transitions import Transitions
from invdyn_ros.grasp.learning.demonstration_dataset import read_demonstration_episodes
from invdyn_ros.grasp.policies.action_space import PlanarTwist
from invdyn_ros.grasp.policies.observation import ObservedState
from invdyn_ros.grasp.policies.spaces import SpaceSpec
from invdyn_ros.grasp.policies.success import PrivilegedState
from invdyn_ros.robots.robot import load_robot
from invdyn_ros.typing import Array

NEAR = 0.1  # [m] along the table, from which on a path is kept; beyond, the tool moves straight
SPACING = 0.015  # [m] between waypoints; within it, a path has come back
SPEED, TURN_SPEED, GAIN = 0.2, 1.5, 2.5  # [m/s, rad/s, 1/s] of the way to the next stop
LOOKAHEAD = 0.015  # [m] at which the next waypoint is aimed at
CLOSER = 0.0005  # [m] per step by which a tool that has not arrived gets closer
SETTLED_STEPS = 5  # without progress, until a tool has arrived or a gripper is at rest
SETTLED_OPENING = 0.0005  # [m] per step of a gripper at rest


MAX_YAW_ERROR = 0.3  # [rad] from the fingers to the sides of a block; beyond, it turns or slips
NO_GRASP = "the gripper does not close on two sides of a block and open again"


class Leg(NamedTuple):
    """Path between two changes of the gripper.

    Attributes:
        anchor: what the positions are relative to: block, grip (the tool when it closed) or goal.
        waypoints: (K, 4) positions of the tool [m], and yaw from its fingers to the block [rad].
        is_closed: whether the gripper is closed.
        tool_yaw: yaw of the tool at the end of a path to a block, with which the path turns [rad].
    """

    anchor: str
    waypoints: Array
    is_closed: bool
    tool_yaw: float = 0.0

    def path(self, anchor: Array, state: PrivilegedState) -> Array:
        """Return the positions (K, 3) of the tool [m], for an anchor (3,) and a state."""
        positions = self.waypoints[:, :3]
        if self.anchor == "block":
            turn = state.yaw_error - self.waypoints[-1, 3] - self.tool_yaw
            turn += tool_yaw(state.tool_pose)
            positions = positions @ Rotation.from_euler("z", turn).as_matrix().T
        return np.asarray(positions + anchor)


def read_recorded_grasps(folder: str | Path, arm: str) -> list[list[Leg]]:
    """Return the paths of all grasps of a dataset folder, see `grasp_legs`.

    Raises:
        ValueError: a damaged dataset, or one of another arm or without a grasp.
    """
    spec, episodes = read_demonstration_episodes(folder)
    if spec.arm != arm:
        raise ValueError(f"{folder} holds grasps of '{spec.arm}', not of '{arm}'")
    paths = [grasp_legs(episode, spec) for episode in episodes]
    if not any(paths):
        raise ValueError(f"{folder}: {NO_GRASP} in any of {len(paths)} episodes")
    return paths


def grasp_legs(episode: Transitions, spec: SpaceSpec) -> list[Leg]:
    """Return the path of a grasp: to the block, up, to the goal and away from it.

    Args:
        episode: a grasp that placed the block, by a person, a script or a policy.
        spec: its arm and action space.

    Returns:
        Four legs; none where the gripper does not close on two sides of a detected block and
        open again.
    """
    robot = load_robot(spec.arm)
    state = ObservedState.from_observations(episode.observations, robot.n, spec.sizes[1])
    closed, tool = episode.actions[:, -1] < 0, state.tool
    q = episode.observations[:, : robot.n].astype(float)
    changes = (np.flatnonzero(np.diff(closed)) + 1).tolist()
    grips = [k for k in changes if closed[k] and state.is_detected[k - 1]]
    ends = [k for k in changes if not closed[k]]
    if not grips or not ends or ends[-1] < grips[0]:
        return []
    release = ends[-1]
    grip = max(k for k in grips if k < release)
    if abs(state.yaw_error[grip - 1]) > MAX_YAW_ERROR:
        return []
    # where the block came to lie, which the new one is to do at its goal
    goal = np.append(state.block[-1, :2], state.goal[-1, 2])
    block, yaw = state.block[grip - 1], tool_yaw(robot.forward_kinematics(q[grip]))
    start = _last_far(tool[:grip], block)
    lifted = grip + _first_far(tool[grip:release], tool[grip])
    lower = max(_last_far(tool[:release], goal), lifted)

    def path(first: int, last: int | None, anchor: Array) -> Array:
        """Return the waypoints (K, 4) of some rows relative to an anchor (3,)."""
        rows = slice(first, last)
        positions = np.column_stack([tool[rows] - anchor, state.yaw_error[rows]])
        return _without_detours(positions)

    return [
        Leg("block", path(start, grip + 1, block), False, yaw),
        Leg("grip", path(grip, lifted + 1, tool[grip]), True),
        Leg("goal", path(lower, release + 1, goal), True),
        Leg("goal", path(release, None, goal), False),
    ]


@dataclass
class _Progress:
    """How far a grasp has come.

    Attributes:
        leg: index of the present leg.
        waypoint: index of the waypoint that is aimed at.
        remaining: shortest way to the end of the leg so far [m].
        late: steps since it became shorter.
        opening: last opening of the gripper [m].
        still: steps since it changed.
    """

    leg: int = 0
    waypoint: int = 0
    remaining: float = np.inf
    late: int = 0
    opening: float = np.inf
    still: int = 0

    def next_leg(self, is_stop: bool) -> _Progress:
        """Return the beginning of the next leg, before which the gripper changes at a stop."""
        if is_stop:
            return _Progress(self.leg + 1)
        return _Progress(self.leg + 1, opening=self.opening, still=SETTLED_STEPS)

    def gripper_has_settled(self, opening: float) -> bool:
        """Return whether the gripper is at rest since the leg began."""
        is_still = abs(opening - self.opening) < SETTLED_OPENING
        self.still, self.opening = (self.still + 1 if is_still else 0), opening
        return self.still >= SETTLED_STEPS or self.waypoint > 0

    def has_arrived(self, remaining: float) -> bool:
        """Return whether the way to the end of the leg [m] no longer becomes shorter."""
        self.late = 0 if remaining < self.remaining - CLOSER else self.late + 1
        self.remaining = min(self.remaining, remaining)
        return self.late >= SETTLED_STEPS


class AdaptedGrasp:
    """Actions that grasp a block as a recorded grasp did."""

    def __init__(self, legs: list[Leg]) -> None:
        """Create the grasp from the path of a recorded one."""
        self.legs, self._progress, self._grip = legs, _Progress(), np.zeros(3)

    def action(self, env: GraspEnv) -> NDArray[np.float32]:
        """Return the next action (a,) in an environment; it waits until the block is detected."""
        state, twist = env.observation_builder.estimated_state(), _hold(is_closed=False)
        if state is not None:
            twist = self._twist(state, env.observation_builder.goal)
        return env.robot_action_space.twist_to_action(twist).astype(np.float32)

    def _twist(self, state: PrivilegedState, goal: Array) -> PlanarTwist:
        """Return the velocity command for an estimated state, with a goal (3,) of the block."""
        progress, tool = self._progress, state.tool_pose[:3, 3]
        leg = self.legs[progress.leg]
        if not progress.gripper_has_settled(state.opening):
            return _hold(leg.is_closed)
        if leg.is_closed and not state.grasped:  # nothing between the fingers: once more
            self._progress = _Progress()
            return _hold(is_closed=False)
        anchors = {"block": state.block_position, "grip": self._grip, "goal": goal}
        path = leg.path(anchors[leg.anchor], state)
        last = len(path) - 1
        while progress.waypoint < last and _distance(path[progress.waypoint], tool) < LOOKAHEAD:
            progress.waypoint += 1
        rest = np.concatenate([tool[None], path[progress.waypoint :]])
        remaining = float(np.linalg.norm(np.diff(rest, axis=0), axis=1).sum())
        is_stop = leg is self.legs[-1] or self.legs[progress.leg + 1].is_closed != leg.is_closed
        if is_stop:
            has_arrived = progress.has_arrived(remaining) and progress.waypoint == last
        else:
            has_arrived, remaining = remaining < LOOKAHEAD, np.inf
        if has_arrived and leg is not self.legs[-1]:
            self._progress, self._grip = progress.next_leg(is_stop), tool.copy()
            if not is_stop:
                return self._twist(state, goal)
            return _hold(self.legs[progress.leg + 1].is_closed)
        return self._follow(leg, rest[1] - tool, remaining, state.yaw_error)

    def _follow(self, leg: Leg, ahead: Array, remaining: float, yaw_error: float) -> PlanarTwist:
        """Return the velocity command towards a waypoint.

        Args:
            leg: present leg.
            ahead: (3,) position of the waypoint from the tool [m].
            remaining: way to the end of the leg [m].
            yaw_error: yaw from the fingers to the block [rad].
        """
        speed, angular = min(SPEED, GAIN * remaining), 0.0
        if leg.anchor == "block":
            turn = yaw_error - leg.waypoints[self._progress.waypoint, 3]
            angular = float(np.clip(GAIN * turn, -TURN_SPEED, TURN_SPEED))
        direction = ahead / max(float(np.linalg.norm(ahead)), 1e-9)
        return PlanarTwist(speed * direction, angular, leg.is_closed)


def _hold(is_closed: bool) -> PlanarTwist:
    """Return the command of a tool that stays, with its gripper open or closed."""
    return PlanarTwist(np.zeros(3), 0.0, is_closed)


def tool_yaw(T_base_tool: Array) -> float:
    """Return the yaw [rad] of a tool (4, 4)."""
    return float(np.arctan2(T_base_tool[1, 0], T_base_tool[0, 0]))


def _distance(a: Array, b: Array) -> float:
    return float(np.linalg.norm(a - b))


def _first_far(path: Array, place: Array) -> int:
    """Return the index at which a path (L, 3) is no longer near a place (3,), else the last."""
    far = np.flatnonzero(np.linalg.norm((path - place)[:, :2], axis=1) > NEAR / 2)
    return int(far[0]) if far.size else len(path) - 1


def _last_far(path: Array, place: Array) -> int:
    """Return the last index at which a path (L, 3) is not near a place (3,), else 0."""
    far = np.flatnonzero(np.linalg.norm((path - place)[:, :2], axis=1) > NEAR)
    return int(far[-1]) if far.size else 0


def _without_detours(path: Array) -> Array:
    """Return a path (L, 4) that goes on where it comes near a former place for the last time.

    So pauses, tremor and corrections are left out.
    """
    kept, k, last = [path[0]], 0, len(path) - 1
    while k < last:
        ahead = np.linalg.norm(path[k:, :3] - kept[-1][:3], axis=1)
        k = min(k + int(np.flatnonzero(ahead < SPACING)[-1]) + 1, last)
        kept.append(path[k])
    return np.array(kept)
