"""Small versions of the safety benchmark: fuzz, fault table and delayed commands."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from invdyn_ros.benchmarks import safety_fuzz, safety_inputs
from invdyn_ros.benchmarks.safety_checks import (
    ContactProbe,
    JointOrigins,
    MotionChecker,
    Tally,
    Ticks,
)
from invdyn_ros.benchmarks.safety_fault_runs import run_faults
from invdyn_ros.benchmarks.safety_faults import FAULT_TABLE, FaultRow
from invdyn_ros.benchmarks.safety_fuzz import FuzzJob, run_fuzz
from invdyn_ros.benchmarks.safety_live_faults import live_faults
from invdyn_ros.benchmarks.safety_live_timeline import Timeline
from invdyn_ros.benchmarks.safety_rig import (
    START_TIME,
    DrivenArm,
    Setup,
    action_bounds,
    shipped_setups,
    wave,
)
from invdyn_ros.benchmarks.safety_runs import run_delay
from invdyn_ros.control.motion_profile import Target
from invdyn_ros.control.safety_limits import Limits, SafetyLimitsConfig
from invdyn_ros.robots.obstacles import Obstacles
from invdyn_ros.robots.robot import load_robot
from invdyn_ros.typing import Array

UR5 = load_robot("ur5")
LIMITS = Limits.from_robot(UR5, SafetyLimitsConfig())


def smooth_ticks(count: int = 200) -> Ticks:
    """A slow sine of all joints about home, with torques of zero."""
    time = np.arange(count)[:, None] / UR5.rate
    w, size = 2.0, 0.05
    q = UR5.home + size * np.sin(w * time) * np.ones(6)
    qd = size * w * np.cos(w * time) * np.ones(6)
    qdd = -size * w * w * np.sin(w * time) * np.ones(6)
    reference = np.hstack([q, qd, qdd])
    return Ticks(
        time[:, 0], reference, q, np.zeros((count, 6)), np.zeros(count), np.zeros(count, bool)
    )


def violations(ticks: Ticks, unit: str = "N m") -> set[str]:
    tally = Tally()
    checker = MotionChecker(UR5, unit, LIMITS, 1.0, action_bounds())
    bad = checker.check(ticks, tally)
    names = {name for name, count in tally.violations.items() if count}
    assert bool(bad.any()) == bool(names)
    return names


def test_checks_find_each_kind_of_violation_and_nothing_in_a_smooth_motion() -> None:
    assert not violations(smooth_ticks()) and not violations(
        replace(smooth_ticks(), action=smooth_ticks().joints), "rad"
    )
    expected = {
        (100, 0): {"continuity of position", "tool speed"},  # a step of 0.1 rad
        (100, 6): {"continuity of velocity", "continuity of position"},
        (100, 12): {"jerk", "continuity of velocity"},
    }
    for (row, column), names in expected.items():
        ticks = smooth_ticks()
        ticks.reference[row, column] += 0.1 if column < 6 else 3.0
        assert names <= violations(ticks), names
        ticks.segment[row:] += 1  # an arm that was engaged anew may start anywhere
        ticks.segment[row + 1 :] += 1
        assert not violations(ticks) & names
    ticks = smooth_ticks()
    ticks.action[50] = 1.01 * UR5.effort
    assert violations(ticks) == {"torque", "torque rate"}
    ticks.action[50] = np.nan
    assert not violations(smooth_ticks()) and "finite" in violations(ticks)
    ticks = smooth_ticks()
    ticks.reference[:, :6] += UR5.upper - UR5.home
    assert "position" in violations(ticks)
    far = replace(smooth_ticks(), action=smooth_ticks().joints + 0.2)
    assert violations(far, "rad") == {"setpoint"}


def test_kinematics_and_contacts_of_the_checks_agree_with_the_arm() -> None:
    rng = np.random.default_rng(0)
    q = rng.uniform(UR5.lower, UR5.upper, (20, 6))
    tips = JointOrigins(UR5)(q)[:, -1]
    np.testing.assert_allclose(tips, [UR5.forward_kinematics(x)[:3, 3] for x in q], atol=1e-9)
    probe = ContactProbe(UR5, Obstacles())
    assert not probe.contacts(UR5.home, 0.02)
    lowered = UR5.home.copy()
    lowered[1] += 1.0
    assert "table" in {contact.other for contact in probe.contacts(lowered)}
    probe.close()


@pytest.mark.parametrize(("arm", "unit"), [("ur5", "N m"), ("dofbot", "rad")])
def test_no_random_input_moves_an_arm_beyond_a_limit(arm: str, unit: str) -> None:
    result = run_fuzz(FuzzJob(arm, unit, 3000, 7))
    assert result.ticks >= 3000 and result.moving > 300, "the arm hardly moved"
    assert result.tally.total == 0, (result.tally.violations, result.examples)


# what a servo does differently; the other rows are the same for both interfaces
SERVO_FAULTS = (
    "targets contradictory", "joint states stopped", "joint states frozen, same stamps",
    "joint states frozen, new stamps", "joint states reordered", "encoder slipped 0.05 rad",
    "clock -1 h", "program paused", "controller late", "speed scaling 10%", "joint jammed",
    "5 kg unknown", "model of another arm",
)  # fmt: skip


# row -> start of the problem with which it misses its bar
MISSED: dict[str, str] = {}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("setup", "faults"),
    [(Setup("ur5", "ur5"), tuple(FAULT_TABLE)), (Setup("dofbot", "dofbot"), SERVO_FAULTS)],
    ids=["ur5", "dofbot"],
)
def test_every_fault_of_the_table_is_named_in_time_and_ends_as_stated(
    setup: Setup, faults: tuple[str, ...]
) -> None:
    runs = run_faults((setup, faults))
    assert len(runs) >= len(SERVO_FAULTS)
    for run in runs:
        missed = MISSED.get(run.fault, "nothing")
        assert all(problem.startswith(missed) for problem in run.problems), run


@pytest.mark.parametrize(
    ("arm", "change", "missed"),
    [
        ("ur5", lambda action: -action, "excursion 0.063 rad"),
        ("ur5", lambda action: 0 * action, "excursion 0.063 rad"),
        ("ur5", lambda action: action + 40 * np.array([1, -1, 1, -1, 1, -1]), ""),
        ("dofbot", lambda action: action + 0.1, ""),
    ],
    ids=["negative", "zero", "large", "dofbot"],
)
def test_no_wrong_model_leads_an_arm_away(
    arm: str, change: Callable[[Array], Array], missed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Models that send no torque, or the opposite, miss the 0.05 rad of the fault table."""
    row: FaultRow = FAULT_TABLE["model of another arm"]._replace(broken=change, tolerable=False)
    monkeypatch.setitem(FAULT_TABLE, "wrong", row)
    (run,) = run_faults((Setup(arm, arm), ("wrong",)))
    assert run.peak_speed < 0.5 and run.problems == ((missed,) if missed else ()), run


def test_no_setpoint_jumps_to_where_encoders_froze(monkeypatch: pytest.MonkeyPatch) -> None:
    """A servo whose encoders read the same may have moved on."""
    frozen = {"frozen": safety_inputs.DISTURBANCES["frozen"]}
    monkeypatch.setattr(safety_fuzz, "DISTURBANCES", frozen)
    result = safety_fuzz.run_fuzz(safety_fuzz.FuzzJob("ur5e", "rad", 6000, 5))
    assert result.faults["joint states are frozen"] >= 5
    assert not any(result.tally.violations.values()), result.examples


def test_late_commands_never_make_an_arm_fast() -> None:
    """Up to 100 ms more delay, the arm follows or stops by itself."""
    for delay in (0.0, 0.032, 0.1):
        result = run_delay((Setup("ur5", "ur5"), delay))
        assert result.peak_speed <= 1.0, delay
        assert result.faults or result.rms < 0.05, delay
        assert not result.contacts


def test_every_shipped_checkpoint_is_under_test() -> None:
    names = {setup.checkpoint for setup in shipped_setups()}
    assert names == {"ur5", "ur5_position", "ur5e", "ur5e_position", "dofbot", "kuka_iiwa"}
    with pytest.raises(ValueError, match="no checkpoint is shipped for 'ur10'"):
        shipped_setups(("ur10",))


@pytest.mark.parametrize("arm", ["ur5", "kuka_iiwa"])
def test_dry_friction_holds_no_joint_beside_a_small_motion(arm: str) -> None:
    with DrivenArm(Setup(arm, arm)) as driven:
        while driven.time < START_TIME + 2.5:
            state = wave(driven.robot, driven.time, 0.01)
            driven.step(Target(driven.time, state, 0.0) if driven.camera_due else None)
        errors = [s.q - s.reference[: driven.robot.n] for s in driven.samples[driven.ticks // 3 :]]
    assert np.abs(errors).max() < 5e-3  # friction alone would hold light joints 30 mrad away


def test_timeline_of_a_live_run_tells_when_a_fault_was_named_and_where_the_arm_was() -> None:
    """One joint at 1 rad/s follows its plan until 1 s and stands 0.03 rad further."""
    time = np.arange(0.0, 2.0, 0.01)
    q, stamp = np.minimum(time, 1.03)[:, None] * np.eye(6)[:1], np.round(time * 1e9)
    sent = (time <= 1.0) | (time > 1.5)
    command = q + 0.02
    timeline = Timeline(
        time, stamp, q, time[sent], stamp[sent], q[sent], command[sent],
        [(0.5, "retarget", "new person"), (1.08, "inverse_dynamics", "loop delay: 0.1 s")],
    )  # fmt: skip
    assert timeline.detection(("loop delay",), 1.0) == ("loop delay: 0.1 s", 1.08)
    assert timeline.detection(("loop delay",), 1.1)[0] is None
    assert timeline.excursion(1.0, 2.0) == pytest.approx(0.03)
    assert timeline.excursion(0.2, 0.9) == pytest.approx(0.0), "it follows its plan"
    assert timeline.travel(1.1, 2.0) == 0.0 and timeline.travel(0.0, 0.5) == pytest.approx(0.5)
    assert timeline.first_command(1.0) == pytest.approx(0.02)
    assert np.isnan(timeline.first_command(1.6)), "no gap after that"
    assert timeline.follows(1.9) and not replace_sent(timeline, time <= 1.0).follows(1.1)
    assert timeline.last_status("inverse_dynamics", ()) == "loop delay: 0.1 s"


def replace_sent(timeline: Timeline, sent: np.ndarray) -> Timeline:
    return timeline._replace(desired_time=timeline.time[sent])


def test_live_faults_kill_and_stop_every_node() -> None:
    for with_video, nodes in (
        (True, "camera pose retarget"),
        (False, "scene_camera blocks grasp"),
    ):
        table = live_faults(with_video)
        for node in ["inverse_dynamics", "simulator", "report", *nodes.split()]:
            assert table[f"{node} killed"].killed == node
            assert table[f"{node} stopped for 2 s"].deadline > 0
