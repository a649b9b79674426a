"""Joint-velocity and Cartesian-velocity action spaces."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from invdyn_ros.control.safety_limits import SafetyLimitsConfig
from invdyn_ros.grasp.policies.action_space import ActionSpace, ActionSpaceConfig, PlanarTwist
from invdyn_ros.robots.collision import CollisionConfig, CollisionModel
from invdyn_ros.robots.collision_geometry import TABLE
from invdyn_ros.robots.registry import load_arm_obstacles
from invdyn_ros.robots.robot import Robot
from invdyn_ros.typing import Array, Mask

TILT_GAIN = 3.0  # [1/s] for setting a tilted tool upright
ROTATION_WEIGHT = 0.2  # [m/rad] weight of rotation errors relative to position errors
RANGE = 0.15  # distance up to which that to the table is computed, over the reach of the arm
TABLE_CLEARANCE = 0.003  # [m] beyond the margin of the guard, below which tools do not descend
# By unit of the commands: position servos follow their targets later.
MAX_TILT_SPEED = {"N m": 0.5, "rad": 0.25}  # [rad/s] for setting a tilted tool upright
DESCENT_GAIN = {"N m": 5.0, "rad": 2.0}  # [1/s] speed of a descent over the distance that is left
TOUCH_HEIGHT, TOUCH_SPEED = 0.045, 0.1  # [m, m/s] where fingers may touch the top of a block
MIN_DESCENT = 0.1  # of a link, as a fraction of the tool's, below which the table does not count
DLS_DAMPING = 1e-4  # [m2] of the inverse Jacobian: keeps joints slow near a singularity


class JointVelocityActionSpace(ActionSpace):
    """Actions are joint velocities, as fractions of the rated velocities."""

    @property
    def size(self) -> int:
        """One entry per joint and one for the gripper."""
        return self.robot.n + 1

    def action_to_velocity(self, action: Array) -> Array:
        """Scale an action by the rated velocities."""
        return np.asarray(self.config.joint_speed_fraction * self.robot.velocity * action)

    def velocity_to_action(self, velocity: Array) -> Array:
        """Invert `action_to_velocity`."""
        return np.asarray(velocity / (self.config.joint_speed_fraction * self.robot.velocity))

    def twist_to_action(self, twist: PlanarTwist) -> Array:
        """Return the joint velocities that the Cartesian action space computes for a twist."""
        self.cartesian.target = self.target
        *tool, gripper = self.cartesian.twist_to_action(twist)
        velocity = self.cartesian.action_to_velocity(np.array(tool))
        return np.append(self.velocity_to_action(velocity), gripper).clip(-1, 1)

    @cached_property
    def cartesian(self) -> CartesianVelocityActionSpace:
        """Cartesian action space of the same arm."""
        return CartesianVelocityActionSpace(self.robot, self.config, self.safety_limits)


class CartesianVelocityActionSpace(ActionSpace):
    """Actions are the tool's velocity along x, y, z of the base and about its z axis.

    The remaining degrees of freedom keep the tool pointing down as well as the arm can
    (task priority, Siciliano and Slotine 1991; damped least squares, Wampler 1986). Near the
    table the tool descends slowly, and not so far that the motion guard would stop the arm.
    """

    is_gentle = True

    @property
    def size(self) -> int:
        """Velocity along x, y, z, about z, and the gripper."""
        return 5

    def action_to_velocity(self, action: Array) -> Array:
        """Return the joint velocity (n,) [rad/s] of a tool velocity.

        A joint that would exceed its bounds is fixed there, and the others compensate for it
        (saturation in the null space; Flacco, De Luca and Khatib 2012).
        """
        config, J = self.config, self._jacobian()
        desired = [
            *(config.linear_speed * action[:2]),
            max(config.linear_speed * action[2], -self._max_descent()),
            ROTATION_WEIGHT * config.angular_speed * action[3],
        ]
        lower, upper = self._velocity_bounds()
        free, fixed = np.ones(self.robot.n, bool), np.zeros(self.robot.n)
        while True:
            v = self._solve_velocity(J, np.array(desired), free, fixed)
            saturated = free & ((v < lower) | (v > upper))
            if not saturated.any():
                break
            free = free & ~saturated
            fixed = np.where(free, 0.0, v.clip(lower, upper))
        change = v - self.target.qd  # scaled as a whole, so that it keeps its direction
        scale = (self._max_change / np.maximum(np.abs(change), 1e-9)).min()
        return np.asarray(self.target.qd + min(float(scale), 1.0) * change)

    @cached_property
    def _collision(self) -> CollisionModel:
        obstacles, config = load_arm_obstacles(self.robot.name), CollisionConfig(range=RANGE)
        return CollisionModel(self.robot, obstacles, config)

    def _max_descent(self) -> float:
        """Return the largest speed downward [m/s], which lets fingers touch a block gently.

        It falls to zero before the guard would stop the arm because of the table, and it is a
        speed upward where the arm is closer. Links that descend less than the tool, such as one
        that turns close above the table, allow more.
        """
        pairs, clearances, gradients = self._collision.gradients(self.target.q)
        down = _damped_inverse(self._jacobian()[[0, 1, 2, 5]]) @ np.array([0.0, 0.0, -1.0, 0.0])
        descent = np.minimum(-gradients @ down, 1.0)  # of the links, as a fraction of the tool's
        near = self._at_table[pairs] & (descent > MIN_DESCENT)
        clearances, descent = clearances[near], descent[near]
        gain = DESCENT_GAIN[self.robot.action_unit]
        touch = TOUCH_SPEED + gain * np.maximum(clearances - TOUCH_HEIGHT, 0.0)
        limits = np.minimum(gain * (clearances - TABLE_CLEARANCE), touch) / descent
        return float(limits.min(initial=np.inf))

    @cached_property
    def _at_table(self) -> Mask:
        """Whether the bodies of each pair are a link and the table."""
        return np.array([TABLE in pair for pair in self._collision.pairs])

    def _solve_velocity(self, J: Array, desired: Array, free: Array, fixed: Array) -> Array:
        """Return joint velocities (n,) that also set the tool upright in the null space.

        Args:
            J: (6, n) weighted Jacobian.
            desired: (4,) weighted velocity along x, y, z and about z.
            free: (n,) joints that may be used.
            fixed: (n,) velocity of the other joints, zero for those that are free.
        """
        primary, secondary = J[[0, 1, 2, 5]] * free, J[[3, 4]] * free
        from_fixed = J @ fixed
        max_speed = self.config.joint_speed_fraction * self.robot.velocity
        v = fixed + _damped_inverse(primary) @ (desired - from_fixed[[0, 1, 2, 5]])
        v = v / max(np.abs(v / max_speed).max(), 1.0)
        # undamped, because setting the tool upright must not disturb the primary task
        null_space = np.diag(free.astype(float)) - np.linalg.pinv(primary) @ primary
        upright = TILT_GAIN * np.cross(self._tool[:3, 2], [0.0, 0.0, -1.0])[:2]
        largest = MAX_TILT_SPEED[self.robot.action_unit]
        upright *= min(1.0, largest / max(float(np.linalg.norm(upright)), 1e-9))
        inverse = _damped_inverse(secondary @ null_space)
        correction = null_space @ inverse @ (ROTATION_WEIGHT * upright - J[[3, 4]] @ v)
        margin = (max_speed - np.sign(correction) * v) / np.maximum(np.abs(correction), 1e-9)
        return np.asarray(v + max(min(float(margin.min()), 1.0), 0.0) * correction)

    def velocity_to_action(self, velocity: Array) -> Array:
        """Return the action of the tool velocity that results from a joint velocity (n,)."""
        twist = self._jacobian() @ velocity
        config = self.config
        angular = twist[5] / (ROTATION_WEIGHT * config.angular_speed)
        return np.append(twist[:3] / config.linear_speed, angular)

    def twist_to_action(self, twist: PlanarTwist) -> Array:
        """Scale a twist by the speeds of an action of 1."""
        linear = twist.linear / self.config.linear_speed
        gripper = -1.0 if twist.close_gripper else 1.0
        return np.array([*linear, twist.angular_z / self.config.angular_speed, gripper]).clip(
            -1, 1
        )

    def _jacobian(self) -> Array:
        """Return the Jacobian (6, n) at the target, its rotational rows weighted."""
        self._tool = self.robot.forward_kinematics(self.target.q)
        J = self.robot.jacobian(self.target.q)
        J[3:] *= ROTATION_WEIGHT
        return J


def _damped_inverse(J: Array) -> Array:
    """Return the damped inverse (n, k) of a Jacobian (k, n)."""
    return np.asarray(J.T @ np.linalg.inv(J @ J.T + DLS_DAMPING * np.eye(len(J))))


ACTION_SPACES: dict[str, type[ActionSpace]] = {
    "joint": JointVelocityActionSpace,
    "cartesian": CartesianVelocityActionSpace,
}


def make_action_space(
    control_mode: str,
    robot: Robot,
    config: ActionSpaceConfig,
) -> ActionSpace:
    """Return the action space of a control mode.

    Args:
        control_mode: joint or cartesian.
        robot: the arm.
        config: time step and scale of actions.

    Raises:
        ValueError: unknown control mode, or an arm or a config that cannot have it.
    """
    if control_mode not in ACTION_SPACES:
        raise ValueError(f"no control_mode '{control_mode}'; known: {sorted(ACTION_SPACES)}")
    return ACTION_SPACES[control_mode](robot, config, SafetyLimitsConfig())
