"""The learned grasp in the live graph: joint states and sightings enter, wanted states leave.

Observer and steering are those of the environment, so the same numbers mean the same here.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from invdyn_ros.arms.scene import Scene
from invdyn_ros.control.guard import Array
from invdyn_ros.grasp.estimate import Sighting
from invdyn_ros.grasp.observer import Observer
from invdyn_ros.grasp.policy import Policy, load_policy
from invdyn_ros.grasp.scripted import Wish
from invdyn_ros.grasp.steering import Step, load_steering
from invdyn_ros.robot import Robot

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
        self.steering = load_steering(meta.control, robot, meta.steering)
        self.observer = Observer(robot, scene, self.steering.size)
        expected = robot.name, self.observer.size, self.steering.size
        found = meta.arm, meta.observation_size, meta.action_size
        if found != expected:
            raise ValueError(
                f"a policy of arm, observation and action sizes {found}; the grasp has {expected}"
            )
        self.reset()

    def reset(self) -> None:
        """Begin an episode."""
        self.observer.reset()
        self.step: Step | None = None
        self.until = 0.0

    def see(self, sighting: Sighting) -> None:
        """Take a detection of the block."""
        self.observer.see(sighting)

    def measure(self, q: Array, qd: Array) -> None:
        """Take the joints: q (n,) [rad], qd (n,) [rad/s] or empty where none is measured."""
        self.q, self.qd = q, qd

    def wish(self, time: float, opening: float, ahead: float) -> Wish:
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
        problem = None if self.observer.estimate.count else "block not seen"
        horizon = max(self.until - time, ahead)
        return Wish(self.step.state, self.step.opening, "learned", problem, horizon)

    def _decide(self, time: float, opening: float) -> Step:
        wanted = self.steering.wanted
        joints = self.observer.joints(time, self.q, self.qd, opening, wanted)
        action = self.policy.act(np.concatenate([joints, self.observer.block(time)]))
        self.observer.previous = action.astype(float)
        return self.steering(self.observer.previous, self.q)


def load_learned(robot: Robot, scene: Scene, directory: str | Path) -> LearnedGrasp:
    """Return the grasp of a folder that `invdyn train_grasp` wrote.

    Raises:
        ValueError: no policy there, or one of something else.
    """
    return LearnedGrasp(robot, scene, load_policy(directory, robot.name))
