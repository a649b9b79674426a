"""Check of the unit of the effort: what the rigid body of the URDF says about it."""

from __future__ import annotations

from collections.abc import Sequence

from invdyn_ros.data.action_units import CURRENT, is_torque
from invdyn_ros.data.trajectory import Trajectory
from invdyn_ros.robots.robot import Robot
from invdyn_ros.sources.inspection.motion import Suspicion


def unit_check(
    robot: Robot, trajectories: Sequence[Trajectory]
) -> tuple[str | None, Suspicion | None]:
    """Return what the URDF says about the unit of the actions, and whether it contradicts.

    Args:
        robot: the arm.
        trajectories: its motion, with or without accelerations and actions.
    """
    from invdyn_ros.models.effort_fit import (  # torch is slow to import
        MAX_CURRENT_PER_TORQUE,
        effort_line,
        fit_effort,
    )

    known = [t for t in trajectories if len(t.action) and len(t.acceleration)]
    unit = trajectories[0].action_unit
    if not known or not (is_torque(unit) or unit == CURRENT):
        return None, None
    fit = fit_effort(robot, known)
    line, likeliest = effort_line(fit), fit.likeliest()
    if is_torque(unit) and fit.is_negated:
        return line, Suspicion(
            "effort with the opposite sign",
            f"it is {fit.factor:.2g} times the torque of the URDF",
            "give --negate-action or, if the arm hangs from the ceiling, turn it in the URDF",
        )
    if likeliest is None or not fit.contradicts(unit):
        return line, None
    both_torques = is_torque(unit) and is_torque(likeliest)
    explained = 100 * max(1 - fit.unexplained[unit], 0.0)
    motors = f", with {fit.factor:.2g} A per N m; geared motors have less than "
    motors = "" if both_torques else f"{motors}{MAX_CURRENT_PER_TORQUE}"
    return line, Suspicion(
        "gravity in or out of the effort" if both_torques else "effort in another unit",
        f"URDF and friction explain {explained:.0f}% of it as {unit!r}, but "
        f"{100 * (1 - fit.unexplained[likeliest]):.0f}% as {likeliest!r}{motors}",
        f"see what the driver publishes; {likeliest!r} is likelier",
    )
