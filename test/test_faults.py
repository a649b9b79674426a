"""Faults of measurement and tracking: found in time, named, latched, and the arm stops."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest
from driven_arm import ARMS, CLOCK, START, Arm, shipped
from oracle import robot

from invdyn_ros.arms.pybullet_arm import apply_plant
from invdyn_ros.control.computed_torque import MeasuredState
from invdyn_ros.control.faults import (
    CONTRADICTION,
    FOLLOWING_ERROR,
    FROZEN,
    JUMPED,
    LOOP_DELAY,
    NOT_FOLLOWING,
    STAMPS_JUMPED,
    STOPPED,
)
from invdyn_ros.control.measurement_monitor import MeasurementMonitor
from invdyn_ros.control.motion_profile import State
from invdyn_ros.control.safety_limits import SafetyLimitsConfig
from invdyn_ros.robots.registry import load_plant


def joint(arm: Arm, value: float) -> np.ndarray:
    return value * np.eye(arm.robot.n)[1]


FALSIFIED = {
    "stopped": (STOPPED, lambda arm, good, last: None),
    "the same message": (FROZEN, lambda arm, good, last: last),
    "frozen": (FROZEN, lambda arm, good, last: last._replace(time=good.time)),
    "nan": (STOPPED, lambda arm, good, last: good._replace(q=good.q * np.nan)),
    "absurd stamp": (STOPPED, lambda arm, good, last: good._replace(time=1e308)),
    "incomplete": (STOPPED, lambda arm, good, last: good._replace(q=good.q[:2])),
    "slip": (JUMPED, lambda arm, good, last: good._replace(q=good.q + joint(arm, 0.05))),
    "large slip": (JUMPED, lambda arm, good, last: good._replace(q=good.q - joint(arm, 0.5))),
    "clock +1 s": (STAMPS_JUMPED, lambda arm, good, last: good._replace(time=good.time + 1)),
    "clock -1 s": (STAMPS_JUMPED, lambda arm, good, last: good._replace(time=good.time - 1)),
    "clock +1 h": (STAMPS_JUMPED, lambda arm, good, last: good._replace(time=good.time + 3600)),
}


@pytest.mark.parametrize("arm", ARMS)
@pytest.mark.parametrize("kind", FALSIFIED)
def test_useless_joint_states_stop_the_arm_until_it_is_engaged_again(arm: str, kind: str) -> None:
    reason, falsify = FALSIFIED[kind]
    with Arm(arm) as driven:
        driven.run(START)
        assert driven.controller.fault is None
        last = driven.measure()
        detected, where = None, driven.q
        for k in range(round(0.5 * driven.robot.rate)):
            driven.step(falsify(driven, driven.measure(), last))
            if detected is None and driven.controller.fault is not None:
                detected, where = k / driven.robot.rate, driven.q
        fault = driven.controller.fault
        assert fault is not None and fault.reason == reason
        assert detected is not None and detected <= (0.25 if reason == FROZEN else 0.1)
        # without velocities, a frozen servo shows later, and returns to where it was last seen
        is_late = reason == FROZEN and not last.qd.size
        assert np.abs(driven.q - where).max() < (0.07 if is_late else 0.05)
        stand = driven.q
        driven.run(0.25)
        assert driven.controller.fault is not None, "a fault is latched"
        # setpoints may return to where the arm was last seen
        still = 2e-3 if driven.robot.action_unit == "N m" else 0.03
        assert np.abs(driven.q - stand).max() < still
        assert driven.controller.engage(True) is None
        driven.step(driven.measure())
        assert driven.command is not None and driven.command.action is not None
        if driven.robot.action_unit == "rad":
            assert np.abs(driven.command.action - driven.q).max() < 0.02


def test_wrong_velocities_are_replaced_and_a_lasting_contradiction_is_a_fault() -> None:
    with Arm("ur5") as driven:
        driven.run(START)
        for wrong in (True, False, False, False, False):
            good = driven.measure()
            before = driven.command.action if driven.command else None
            driven.step(good._replace(qd=good.qd + wrong * joint(driven, 1.0)))
            assert driven.command is not None and driven.command.action is not None
            assert np.abs(driven.command.action - before).max() < 15.0  # without: 43 N m
        assert driven.controller.monitor.replaced_count == 1
        for _ in range(6):
            good = driven.measure()
            driven.step(good._replace(qd=good.qd + joint(driven, 1.0)))
        fault = driven.controller.fault
        assert fault is not None and fault.reason == CONTRADICTION


@pytest.mark.parametrize("arm", ARMS)
def test_repeated_and_reordered_joint_states_change_nothing(arm: str) -> None:
    with Arm(arm) as driven:
        driven.run(START)
        old = driven.measure()
        for _ in range(round(0.2 * driven.robot.rate)):
            good = driven.measure()
            driven.step(good)
            for again in (good, old):
                command = driven.controller.update(again, CLOCK + driven.simulation.time)
                assert command.action is None and command.fault is None
        assert driven.controller.fault is None


@pytest.mark.parametrize("arm", ARMS)
def test_jammed_joint_does_not_follow(arm: str) -> None:
    with Arm(arm) as driven:
        driven.run(START)
        driven.jam(1)
        where, k = driven.q, 0
        while driven.controller.fault is None:
            driven.step(driven.measure())
            k += 1
        assert k / driven.robot.rate <= 0.25
        assert driven.controller.fault.reason == NOT_FOLLOWING
        assert driven.controller.fault.joint == driven.robot.joint_names[1]
        driven.run(0.5)
        assert np.abs(driven.q - where)[1] < 1e-2
        command = driven.command
        assert command is not None
        if driven.robot.action_unit == "N m":
            assert command.action is None, "a controlled stop ends"
        else:
            driven.run(1.0)
            assert np.abs(command.action - driven.q)[1] < 0.1, "no push against a jam"


def test_servo_program_that_stands_still_resumes_without_a_jump() -> None:
    with Arm("dofbot") as driven:
        driven.run(START)
        for k in range(round(driven.robot.rate)):
            driven.step(driven.measure(), pause=True)
            if driven.controller.fault is None:
                assert k / driven.robot.rate <= 0.25
        fault = driven.controller.fault
        assert fault is not None and fault.reason in (NOT_FOLLOWING, FROZEN)
        stand = driven.q
        driven.run(0.3)
        assert np.abs(driven.q - stand).max() < 0.05
        assert driven.controller.engage(True) is None
        driven.step(driven.measure())
        assert driven.command is not None
        assert np.abs(driven.command.action - driven.q).max() < 0.02


def test_unknown_load_of_5_kg_is_found_before_the_arm_sags_far() -> None:
    with Arm("ur5", safety=SafetyLimitsConfig()) as driven:
        plant = replace(load_plant("ur5"), payload=5.0)
        simulation = driven.simulation
        apply_plant(simulation.client, simulation.arm, driven.robot, plant)
        driven.run(0.8)
        fault = driven.controller.fault
        assert fault is not None and fault.reason in (FOLLOWING_ERROR, NOT_FOLLOWING)
        assert np.abs(driven.q - driven.robot.home).max() < 0.05


@pytest.mark.parametrize("arm", ARMS)
def test_process_that_did_not_run_does_not_blame_the_arm(arm: str) -> None:
    """Time passes for arm and clock, but neither joint states nor the timer were handled."""
    with Arm(arm) as driven:
        driven.run(START)
        for _ in range(round(0.5 * driven.robot.rate)):
            driven.simulation.step(None)
        driven.step(driven.measure())
        fault = driven.controller.fault
        assert fault is not None and fault.reason == LOOP_DELAY
        late = driven.controller.check(CLOCK + driven.simulation.time)
        assert late is None, "an extrapolated time; joint states come again"
        if driven.robot.action_unit == "rad" and driven.command is not None:
            assert np.abs(driven.command.action - driven.q).max() < 0.02


@pytest.mark.parametrize("delay", [0.016, 0.048, 0.1])
def test_late_commands_never_make_the_arm_fast(delay: float) -> None:
    with Arm("ur5", delay, SafetyLimitsConfig()) as driven:
        driven.run(1.5)
        assert driven.fastest < 0.5
        measured, nominal = driven.controller.loop_delay, shipped("ur5").meta.action_delay
        assert measured == pytest.approx(nominal + delay, abs=0.009)
        fault = driven.controller.fault
        assert (fault is None) == (delay < 0.02)
        assert fault is None or fault.reason == LOOP_DELAY


def test_tracking_error_after_a_gap_of_commands_is_named_after_the_gap() -> None:
    with Arm("ur5") as driven:
        driven.run(START)
        controller, simulation = driven.controller, driven.simulation
        while controller.fault is None:  # 48 ms without joint states, then 48 ms with them
            assert simulation.time < 6
            if simulation.ticks % 12 < 6:
                driven.step(None, pause=True)
            else:
                driven.step(driven.measure())
        assert controller.fault.reason == LOOP_DELAY
        assert controller.fault.value == pytest.approx(0.056, abs=1e-3)
        assert controller.fault.limit == 0.03


@pytest.mark.parametrize("arm", ["ur5", "ur5e", "kuka_iiwa", "dofbot"])
def test_hard_targets_are_no_fault(arm: str) -> None:
    """Steps across the workspace, 30 times a second a target."""
    rng = np.random.default_rng(2)
    with Arm(arm) as driven:
        body = driven.robot
        goal = body.home
        driven.target = lambda t: State(goal, np.zeros(body.n), np.zeros(body.n))  # type: ignore[method-assign]
        for k in range(round(1.6 * body.rate)):
            if k % round(0.4 * body.rate) == 0:
                goal = np.clip(body.home + rng.uniform(-0.8, 0.8, body.n), body.lower, body.upper)
            driven.step(driven.measure())
        assert driven.controller.fault is None and driven.fastest > 0.3


def test_monitor_takes_little_time() -> None:
    body = robot("ur5")
    monitor, state = MeasurementMonitor(body, "N m"), State(body.home, *np.zeros((2, 6)))
    durations = []
    for k in range(400):
        q = body.home + 1e-4 * np.sin(k)
        measured = MeasuredState(k / 125, q, np.zeros(6))
        start = time.thread_time()  # without the load of the machine
        assert monitor.update(measured, state._replace(q=q), k / 125) is None
        durations.append(time.thread_time() - start)
    assert np.median(durations) < 300e-6
