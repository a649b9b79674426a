"""Output of a grasp policy in the live graph."""

from typing import NamedTuple

from invdyn_ros.control.motion_profile import State

BLOCK_NOT_DETECTED = "block not detected"
DONE = "done"  # phase of a policy that has ended its task, or given up


class GraspCommand(NamedTuple):
    """Desired state of arm and gripper.

    Attributes:
        state: desired joint state.
        opening: desired distance between the finger pads [m].
        phase: what the policy is doing, for diagnostics.
        hold_reason: why the policy waits, None while it acts.
        horizon: time until `state` is due [s]; None: one control period.
    """

    state: State
    opening: float
    phase: str
    hold_reason: str | None
    horizon: float | None = None
