"""Settings of the scripted grasp."""

from dataclasses import dataclass, replace

import numpy as np

from invdyn_ros.robots.registry import ROBOTS, load_grasp_spec

SPEED_FRACTION = 0.8  # of the speed limit of the tool, which the motion guard approaches too


@dataclass(frozen=True)
class ScriptedGraspConfig:
    """Settings of the scripted grasp.

    Attributes:
        clearance: height of the tool over the block before it descends [m].
        lift_height: height to which the block is lifted [m].
        grasp_depth: depth of the tool centre point below the block's centre in a grasp [m].
        max_speed: maximum speed of the tool in free space [m/s].
        slow_speed: maximum speed of the tool near block and table [m/s].
        min_detections: number of detections before the first approach.
        gripper_time: time to close or open the gripper [s].
        hold_time: time for which the lifted block is held still [s].
        max_attempts: number of empty grasps after which it gives up.
        tilts: angles from the vertical to try, in this order [rad].
    """

    clearance: float = 0.08
    lift_height: float = 0.10
    grasp_depth: float = 0.0
    max_speed: float = 0.5
    slow_speed: float = 0.2
    min_detections: int = 3
    gripper_time: float = 0.6
    hold_time: float = 0.4
    max_attempts: int = 3
    tilts: tuple[float, ...] = (0.0, 0.08, 0.16, 0.24, 0.32, 0.4, 0.5, 0.6, 0.7)


def default_config(arm: str, tool_speed: float = np.inf) -> ScriptedGraspConfig:
    """Return the settings for an arm; the defaults for an arm that is not in the registry.

    Args:
        arm: name of the arm.
        tool_speed: speed limit of its tool [m/s], below which the script stays.
    """
    config = ScriptedGraspConfig()
    if arm in ROBOTS and ROBOTS[arm].gripper:
        spec = load_grasp_spec(arm)
        config = ScriptedGraspConfig(clearance=spec.clearance, lift_height=spec.lift_height)
    fastest = SPEED_FRACTION * tool_speed
    return replace(
        config,
        max_speed=min(config.max_speed, fastest),
        slow_speed=min(config.slow_speed, fastest),
    )
