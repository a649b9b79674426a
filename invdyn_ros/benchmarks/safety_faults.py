"""Fault table of the safety benchmark: what goes wrong with a driven arm, and what must follow."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from invdyn_ros.benchmarks.safety_rig import Tampering
from invdyn_ros.benchmarks.safety_tampering import (
    JOINT,
    ChangedStates,
    CommandsLost,
    ContradictoryTargets,
    DuplicatedStates,
    FrozenStates,
    FrozenTargets,
    JammedJoint,
    NoStates,
    NoTargets,
    ReorderedStates,
    ShiftedTargets,
    SlowArm,
    TargetsNotFinite,
    UnknownPayload,
)
from invdyn_ros.control.computed_torque import MeasuredState
from invdyn_ros.robots.robot import Robot
from invdyn_ros.typing import Array


class FaultRow(NamedTuple):
    """One row of the fault table.

    Attributes:
        make: creates what goes wrong with an arm.
        reasons: any of them must be named; empty: nothing may stop the arm.
        latched: whether the arm stays stopped until it is engaged again.
        deadline: time until the reason is named [s].
        units: units of the actions that the row is for.
        broken: changes the actions of the model from the onset on, instead.
        from_start: whether the fault is there from the start; its deadline counts from the moment
            when the plan has moved a joint by 0.01 rad, before which nothing need show.
        max_excursion: how far a joint may come from its plan and from where it is [rad].
        tolerable: whether nothing need be named as long as the arm stays there.
    """

    make: Callable[[Robot], Tampering]
    reasons: tuple[str, ...]
    latched: bool = True
    deadline: float = 0.1
    units: tuple[str, ...] = ("N m", "rad")
    broken: Callable[[Array], Array] | None = None
    from_start: bool = False
    max_excursion: float = 0.05
    tolerable: bool = False


def _shift_time(seconds: float) -> Callable[[Robot], Tampering]:
    return lambda _: ChangedStates(lambda s: s._replace(time=s.time + seconds))


def _slip(angle: float) -> Callable[[Robot], Tampering]:
    def change(state: MeasuredState) -> MeasuredState:
        q = state.q.copy()
        q[JOINT] += angle
        return state._replace(q=q)

    return lambda _: ChangedStates(change)


def _not_finite(state: MeasuredState) -> MeasuredState:
    q = state.q.copy()
    q[JOINT] = np.nan
    return state._replace(q=q)


def _incomplete(state: MeasuredState) -> MeasuredState:
    return state._replace(q=state.q[:-1], qd=state.qd[:-1])


TRACKING = ("following error", "joint does not follow", "overspeed")
# the encoders of an arm that stands read the same again and again
STANDING = (*TRACKING, "joint states are frozen")
MISSING = ("target is late", "target is stale")
STOPPED = ("joint states stopped",)
FAULT_TABLE: dict[str, FaultRow] = {
    "camera gone, person lost": FaultRow(lambda _: NoTargets(), MISSING, False),
    "landmarks frozen": FaultRow(lambda _: FrozenTargets(), MISSING, False, 0.25),
    "targets stale": FaultRow(lambda _: ShiftedTargets(-1.0), ("target is stale",), False),
    "targets from the future": FaultRow(
        lambda _: ShiftedTargets(3600.0), ("target is from the future",), False
    ),
    "targets not finite": FaultRow(lambda _: TargetsNotFinite(), ("target is not finite",), False),
    "targets doubled": FaultRow(lambda _: ShiftedTargets(0.0), (), False),
    # of one publisher these are a motion to and fro; the node finds two publishers
    "targets contradictory": FaultRow(ContradictoryTargets, (), False, max_excursion=np.inf),
    "joint states stopped": FaultRow(lambda _: NoStates(), STOPPED),
    "joint states frozen, same stamps": FaultRow(
        lambda _: FrozenStates(False), ("joint states are frozen",), deadline=0.25
    ),
    "joint states frozen, new stamps": FaultRow(
        lambda _: FrozenStates(True), ("joint states are frozen",), deadline=0.25
    ),
    "joint states reordered": FaultRow(lambda _: ReorderedStates(), (), False),
    "joint states duplicated": FaultRow(lambda _: DuplicatedStates(), (), False),
    "joint states incomplete": FaultRow(lambda _: ChangedStates(_incomplete), STOPPED),
    "one joint state not finite": FaultRow(lambda _: ChangedStates(_not_finite, 1e-9), (), False),
    "joint states not finite": FaultRow(lambda _: ChangedStates(_not_finite), STOPPED),
    "encoder slipped 0.05 rad": FaultRow(_slip(0.05), ("joint states jumped", "following error")),
    "encoder slipped 0.5 rad": FaultRow(_slip(0.5), ("joint states jumped",)),
    **{
        f"clock {name}": FaultRow(_shift_time(seconds), ("stamps of joint states jumped",))
        for name, seconds in {"+1 s": 1.0, "-1 s": -1.0, "+1 h": 3600.0, "-1 h": -3600.0}.items()
    },
    "program paused": FaultRow(lambda _: CommandsLost(), STANDING, True, 0.25, ("rad",)),
    "controller late": FaultRow(
        lambda _: CommandsLost(), STANDING, True, 0.25, ("rad",), from_start=True
    ),
    "speed scaling 10%": FaultRow(lambda _: SlowArm(), TRACKING, True, 0.25, ("rad",)),
    "joint jammed": FaultRow(lambda _: JammedJoint(), TRACKING, deadline=0.25),
    "5 kg unknown": FaultRow(
        lambda _: UnknownPayload(), TRACKING, deadline=0.25, from_start=True, tolerable=True
    ),
    "5 kg attached in motion": FaultRow(
        lambda _: UnknownPayload(), TRACKING, deadline=0.25, tolerable=True
    ),
    "model not finite": FaultRow(
        lambda _: Tampering(), ("model output is not finite",), broken=lambda a: a * np.nan
    ),
    "model of another arm": FaultRow(
        lambda _: Tampering(),
        (*TRACKING, "model output is implausible"),
        broken=lambda a: 2.0 * a + 0.3,
        tolerable=True,
    ),
}
"""Fault -> what goes wrong and what must follow."""
