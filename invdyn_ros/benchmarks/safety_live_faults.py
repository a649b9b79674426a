"""Table of the live faults of the safety benchmark: what happens, and how the arm must answer."""

from __future__ import annotations

from math import inf
from typing import NamedTuple

from invdyn_ros.benchmarks.safety_live_graph import (
    Act,
    busy_loops,
    kill,
    nothing,
    pause,
    second_arm,
    second_commander,
    second_target_publisher,
)
from invdyn_ros.graph.composition import COMPOSED


class LiveFault(NamedTuple):
    """One live fault.

    Attributes:
        act: what happens.
        reasons: any of them must be named; empty: none need be.
        deadline: time from the fault until it is named [s].
        from_end: whether that time counts from the end of the fault: a process that stands still
            can say nothing.
        latched: whether the arm stays stopped.
        killed: node that ends the run.
        setpoints: whether setpoints are tried, too.
        disk_full: whether nothing large can be written.
        by_helper: whether another process does it, some seconds after its start.
        unmeasured: whether the recording does not tell where the arm was.
        composed: whether the nodes outside the control loop share one process.
    """

    act: Act
    reasons: tuple[str, ...] = ()
    deadline: float = inf
    from_end: bool = False
    latched: bool = False
    killed: str = ""
    setpoints: bool = False
    disk_full: bool = False
    by_helper: bool = False
    unmeasured: bool = False
    composed: bool = False


OWN_DELAY = ("loop delay", "joint states stopped")
NO_TARGETS = ("target is late", "target is stale", "stale time")
TWO_STATES = (
    "two publishers of joint states",
    "joint states jumped",
    "stamps of joint states jumped",
    "velocities contradict positions",
)
TARGET_AGE = 0.3  # [s] after which a target of 20 Hz is stale


def live_faults(with_video: bool) -> dict[str, LiveFault]:
    """Return the live faults by name.

    Args:
        with_video: whether the arm follows a person; else it grasps blocks.
    """
    targets = "retarget" if with_video else "grasp"
    sensors = ("camera", "pose") if with_video else ("scene_camera", "blocks")
    nodes = ("inverse_dynamics", "simulator", targets, *sensors, "report")
    stale = LiveFault(pause(targets), NO_TARGETS, TARGET_AGE, setpoints=True)
    own = LiveFault(pause("inverse_dynamics"), OWN_DELAY, 0.1, True, setpoints=True)
    arm = LiveFault(pause("simulator"), OWN_DELAY, 0.1, setpoints=True)
    person = stale if with_video else LiveFault(nothing)
    paused = {
        "inverse_dynamics": own,
        "simulator": arm,
        targets: stale,
        "report": LiveFault(nothing, unmeasured=True),
    }
    rows = {"none": LiveFault(nothing, setpoints=True)}
    for node in nodes:
        rows[f"{node} killed"] = LiveFault(kill(node), killed=node, unmeasured=node == "report")
    rows |= {
        f"{node} stopped for 2 s": paused.get(node, person)._replace(act=pause(node))
        for node in nodes
    }
    rows["composed killed"] = rows[f"{targets} killed"]._replace(
        act=kill(COMPOSED), killed=COMPOSED, composed=True
    )
    rows["composed stopped for 2 s"] = stale._replace(act=pause(COMPOSED), composed=True)
    rows["two busy loops"] = LiveFault(busy_loops, setpoints=True)
    rows |= _second_publishers(targets)
    rows["disk full"] = LiveFault(nothing, disk_full=True)
    return rows


def _second_publishers(targets: str) -> dict[str, LiveFault]:
    """Return the live faults in which another node publishes what one of the graph does.

    Args:
        targets: node that publishes targets.
    """
    latched = LiveFault(nothing, latched=True, by_helper=True)
    return {
        "second publisher of targets": LiveFault(
            second_target_publisher(targets), ("two publishers of targets",), by_helper=True
        ),
        "second publisher of joint states": latched._replace(
            act=second_arm, reasons=TWO_STATES, unmeasured=True
        ),
        "second publisher of commands": latched._replace(
            act=second_commander("second_inverse_dynamics"), reasons=("several publishers",)
        ),
        "second node of the same name": latched._replace(
            act=second_commander("inverse_dynamics"),
            reasons=("two nodes of one name", "several publishers"),
        ),
    }
