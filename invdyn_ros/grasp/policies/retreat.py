"""Motion of an open gripper up from the table and home, after a learned policy has ended."""

from __future__ import annotations

from invdyn_ros.grasp.policies.action_space import JointTarget
from invdyn_ros.grasp.policies.cartesian_motion import joint_motion, straight_line_motion
from invdyn_ros.grasp.policies.scripted_config import ScriptedGraspConfig, default_config
from invdyn_ros.grasp.policies.scripted_motion import MIN_HOMING_TIME, vertical
from invdyn_ros.robots.inverse_kinematics import PoseIKSolver
from invdyn_ros.robots.robot import Robot
from invdyn_ros.typing import Array


class Retreat:
    """Open the gripper, move straight up where the arm can, then home.

    Attributes:
        end: when the arm is home [s].
    """

    def __init__(
        self, robot: Robot, q: Array, time: float, config: ScriptedGraspConfig | None = None
    ) -> None:
        """Plan the motion.

        Args:
            robot: an arm with a gripper.
            q: (n,) joint positions at rest, at which it starts [rad].
            time: start time [s].
            config: speed, height and time of the gripper; None: those of the arm.

        Raises:
            ValueError: the arm has no gripper.
        """
        if robot.gripper is None:
            raise ValueError(f"arm '{robot.name}' has no gripper, which grasping needs")
        config = config or default_config(robot.name)
        self._opening, start = robot.gripper.max_opening, time + config.gripper_time
        above = robot.forward_kinematics(q)
        above[:3, 3] += vertical(config.clearance)
        up = straight_line_motion(PoseIKSolver(robot), q, above, start, config.slow_speed)
        top, free = (q, start) if up is None else (up.end, start + up.duration)
        home = joint_motion(robot, top, robot.home, free, MIN_HOMING_TIME)
        self._segments = [home] if up is None else [up, home]
        self.end = home.start + home.duration

    def at(self, time: float) -> JointTarget:
        """Return the desired state at a time [s]."""
        begun = [segment for segment in self._segments if segment.start <= time]
        segment = begun[-1] if begun else self._segments[0]
        return JointTarget(segment.at(time), self._opening)
