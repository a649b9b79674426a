"""Units of actions: what each of them is, and what may be done with it.

UR drivers report as `effort` of a joint state the motor current (older ones, and backports by
default) or the torque without gravity (newer ones on PolyScope 5.23 or later); other arms report
the torque with gravity. The message does not say which, so the unit travels with the data.
"""

from __future__ import annotations

from typing import NamedTuple

TORQUE, TORQUE_WITHOUT_GRAVITY, CURRENT, SETPOINT = "N m", "N m without gravity", "A", "rad"
GRAVITY = (0.0, 0.0, -9.81)  # [m/s2] in the base frame
NO_GRAVITY = (0.0, 0.0, 0.0)


class ActionUnit(NamedTuple):
    """One unit of actions.

    Attributes:
        meaning: what such an action is.
        gravity: acceleration (3,) [m/s2] of the rigid body whose torque the action is; None for
            an action that is no torque [N m].
    """

    meaning: str
    gravity: tuple[float, float, float] | None = None

    @property
    def is_torque(self) -> bool:
        """Whether the action is a torque [N m], which a URDF gives without identification."""
        return self.gravity is not None


ACTION_UNITS = {
    TORQUE: ActionUnit("torque of a joint", GRAVITY),
    TORQUE_WITHOUT_GRAVITY: ActionUnit(
        "torque of a joint less that which holds the arm against gravity", NO_GRAVITY
    ),
    CURRENT: ActionUnit("motor current, never converted: its torque constant is not known"),
    SETPOINT: ActionUnit("setpoint of a position servo"),
    "rad/s": ActionUnit("joint velocity"),
    "1": ActionUnit("fraction of the actuator's range or of the image size"),
}


def is_torque(unit: str) -> bool:
    """Return whether actions of a unit are torques [N m], with or without gravity."""
    return ACTION_UNITS[unit].is_torque


def gravity_in(unit: str) -> tuple[float, float, float]:
    """Return the gravity (3,) [m/s2] of the rigid body that explains actions of a unit.

    A current or the offset of a servo holds the arm against gravity, too.
    """
    return ACTION_UNITS[unit].gravity or GRAVITY


def gravity_sign(unit: str, requested: str) -> int:
    """Return how often the torque of gravity is added to actions to have them in another unit.

    Args:
        unit: unit of the actions.
        requested: the other unit.

    Returns:
        0 if the units are the same, 1 or -1.

    Raises:
        ValueError: actions of the one unit cannot be converted to the other.
    """
    if unit == requested:
        return 0
    if not (is_torque(unit) and is_torque(requested)):
        raise ValueError(f"actions in '{unit}' cannot be converted to '{requested}'")
    return 1 if requested == TORQUE else -1


def command_unit(unit: str) -> str:
    """Return the unit of the commands that a model of actions in a unit gives to a controller.

    A controller, its limits and its faults know the whole torque of a joint.
    """
    return TORQUE if unit == TORQUE_WITHOUT_GRAVITY else unit


def conversion_remedy(unit: str, other: str) -> str:
    """Return the end of a message about two different units: what converts them, if anything."""
    if unit == other or not (is_torque(unit) and is_torque(other)):
        return ""
    return "; 'invdyn collect dataset FOLDER --unit UNIT' converts torques by the URDF"
