"""Recording of a motion that an arm has followed."""

from __future__ import annotations

from invdyn_ros.robots.robot import Robot
from invdyn_ros.sources.excitation.motion_player import MotionPlayer
from invdyn_ros.sources.import_result import ImportResult
from invdyn_ros.sources.source import Collection

REPEATED, RESAMPLED = "joint states with the stamp of another one", "by resampling"


def played_collection(player: MotionPlayer, robot: Robot, unit: str) -> Collection:
    """Return the recording of a motion, evenly spaced.

    Args:
        player: its player, at its end.
        robot: the arm.
        unit: of the effort.

    Raises:
        ValueError: no effort is measured, or the unit is unknown.
    """
    recorded, repeated = player.recorded(unit)
    rate = player.motion.rate
    even = recorded.resample(rate).differentiate()
    changes = {REPEATED: -repeated, RESAMPLED: len(even) - len(recorded)}
    result = ImportResult([even], len(recorded) + repeated, changes, [recorded])
    return Collection(result, robot.name, rate, urdf=robot.urdf)
