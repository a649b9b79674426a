"""Speed of the tool, and of the elbow and all other joints, along a motion."""

from __future__ import annotations

import mujoco
import numpy as np

from invdyn_ros.control.motion_profile import Plan
from invdyn_ros.control.motion_samples import MotionSamples
from invdyn_ros.robots.motion_bounds import motion_radii
from invdyn_ros.robots.robot import Robot
from invdyn_ros.typing import Array, Indices

REFINEMENT = 4  # smaller steps per step that a coarse bound does not clear
NUM_REFINEMENTS = 2


class ToolSpeed:
    """Speeds of the tool centre point and of the origins of all joints of an arm.

    Attributes:
        reach: largest distance of any of these points from the axis of the first joint [m].
    """

    def __init__(self, robot: Robot, jerk: Array) -> None:
        """Set up the kinematics; `jerk` (n,) is the largest of all motions [rad/s3]."""
        self._model, self._jerk = robot.model(), jerk
        self._data = mujoco.MjData(self._model)
        tip = self._model.body(robot.tip_link).id
        self._bodies = np.unique([*self._model.jnt_bodyid[1:], tip])
        self._roots = self._model.body_rootid[self._bodies]
        data = self._data  # views into it: an attribute makes a new one each time
        self._q, self._qd, self._velocity = data.qpos, data.qvel, data.cvel
        self._points, self._com = data.xpos, data.subtree_com
        origin = np.zeros((1, 3))
        radii = [motion_radii(self._model, body, origin) for body in self._bodies]
        # a later joint never counts for more than an earlier one, as the proof below needs
        largest = np.maximum.accumulate(np.max(radii, axis=0)[::-1])[::-1]
        self._radii = np.asarray(largest)  # (n,) [m/rad]
        self.reach = float(largest[0])

    def speeds(self, q: Array, qd: Array) -> Array:
        """Return the largest speed (K,) [m/s] of any point at positions and velocities (K, n)."""
        data, model, bodies = self._data, self._model, self._bodies
        velocity = np.empty((len(q), *self._velocity.shape))
        points, com = self._empty_points(len(q)), self._empty_points(len(q))
        for k in range(len(q)):
            self._q[:], self._qd[:] = q[k], qd[k]
            mujoco.mj_kinematics(model, data)
            mujoco.mj_comPos(model, data)
            mujoco.mj_comVel(model, data)
            velocity[k] = self._velocity  # about the centre of mass of the whole arm
            points[k], com[k] = self._points, self._com
        wx, wy, wz, vx, vy, vz = velocity[:, bodies].transpose(2, 0, 1)
        x, y, z = (points[:, bodies] - com[:, self._roots]).transpose(2, 0, 1)
        vx, vy, vz = vx + wy * z - wz * y, vy + wz * x - wx * z, vz + wx * y - wy * x
        squared = vx * vx + vy * vy + vz * vz  # (K, points)
        return np.asarray(np.sqrt(squared.max(axis=1)))

    def fastest(self, q: Array, qd: Array) -> tuple[float, Array]:
        """Return the speed [m/s] of the fastest point in a state (n,), and its gradient by qd."""
        data, model = self._data, self._model
        self._q[:] = q
        mujoco.mj_kinematics(model, data)
        mujoco.mj_comPos(model, data)
        jacobians = np.zeros((self._bodies.size, 3, model.nv))
        for jacobian, body in zip(jacobians, self._bodies, strict=True):
            mujoco.mj_jacBody(model, data, jacobian, None, body)
        velocity = jacobians @ qd  # (points, 3)
        speed = np.sqrt((velocity * velocity).sum(axis=1))
        k = int(speed.argmax())
        gradient = velocity[k] @ jacobians[k] / max(speed[k], 1e-9)
        return float(speed[k]), np.asarray(gradient)

    def _empty_points(self, count: int) -> Array:
        return np.empty((count, *self._points.shape))

    def is_below(self, limit: float, samples: MotionSamples, plan: Plan, start: float) -> bool:
        """Return whether all speeds stay below a limit on the whole motion.

        Args:
            limit: speed [m/s].
            samples: samples of the plan.
            plan: the motion.
            start: time of the first sample [s].
        """
        # no point is faster than the sum of radius times velocity
        bound = samples.largest_speeds().dot(self._radii)
        fast: Indices | None = (bound >= limit).nonzero()[0]
        if fast is not None and fast.size:
            first, last = max(fast[0] - 1, 0), min(fast[-1] + 2, len(samples.q) - 1)
            fast = self._not_below(limit, samples, first, last)
        step = samples.step
        for _ in range(NUM_REFINEMENTS):
            if fast is None or not fast.size:
                break
            step /= REFINEMENT
            fast = (REFINEMENT * fast[:, None] + np.arange(REFINEMENT)).ravel()
            times = np.union1d(fast, fast + 1)
            q, qd = plan.sample(start + step * times.astype(float))
            speeds, begin = self.speeds(q, qd), np.searchsorted(times, fast)
            if (speeds >= limit).any():
                return False
            ends = np.maximum(speeds[begin], speeds[begin + 1])
            bulge = step**2 / 8 * self._curvature(qd[begin], qd[begin + 1], step)
            fast = fast[ends + bulge >= limit]
        return fast is not None and not fast.size

    def _not_below(
        self, limit: float, samples: MotionSamples, first: int, last: int
    ) -> Indices | None:
        """Return the steps that may be too fast, None if one certainly is, from distances alone.

        The mean velocity over a step differs from that in its middle by at most step^2 / 24 times
        the second derivative of the velocity, and the velocity between the middles of two steps
        from the straight line between both by at most step^2 / 8.

        Args:
            limit: speed [m/s].
            samples: samples of the motion.
            first: first sample to look at.
            last: last sample to look at.
        """
        q, qd = samples.q[first : last + 1], samples.qd[first : last + 1]
        points = self._empty_points(len(q))
        for k, position in enumerate(q):
            self._q[:] = position
            mujoco.mj_kinematics(self._model, self._data)
            points[k] = self._points
        step = points[1:, self._bodies] - points[:-1, self._bodies]
        moved = np.maximum.reduce(np.add.reduce(step * step, axis=2), axis=1)
        mean = np.sqrt(moved) / samples.step  # (K,)
        if mean.max() >= limit:
            return None
        ends = self.speeds(q[[0, -1]], qd[[0, -1]])
        padded = np.concatenate([ends[:1], mean, ends[1:]])
        largest = np.maximum(np.maximum(padded[:-2], padded[2:]), mean)
        curvature = self._curvature(qd[:-1], qd[1:], samples.step)
        largest = largest + samples.step**2 / 6 * curvature
        return first + (largest >= limit).nonzero()[0]

    def _curvature(self, qd_start: Array, qd_end: Array, step: float) -> Array:
        """Return a bound (K,) of the second derivative of the velocity of all points [m/s3].

        With R = `_radii` and w = sum |qd| it is R |jerk| + 3 w R |qdd| + w^2 R |qd|: turning an
        earlier joint turns the derivative of a point by a later joint, and does not lengthen it.

        Args:
            qd_start: (K, n) velocities at the start of each step [rad/s].
            qd_end: (K, n) velocities at the end of each step [rad/s].
            step: duration [s].
        """
        radii, jerk = self._radii, self._jerk
        speed = np.maximum(np.abs(qd_start), np.abs(qd_end)) + step**2 / 8 * jerk
        acceleration = np.abs(qd_end - qd_start) / step + step * jerk
        w = np.add.reduce(speed, axis=1)
        return np.asarray(w * (w * (speed @ radii) + 3 * (acceleration @ radii)) + jerk @ radii)
