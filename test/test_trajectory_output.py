"""Trajectories for an interpolating controller: the verified plan, and a stop without more."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from oracle import robot
from trajectory_controller import TrajectoryController

from invdyn_ros.control.computed_torque import ConstantInertiaModel, MeasuredState
from invdyn_ros.control.controller import ArmController
from invdyn_ros.control.motion_profile import Plan, State, Target
from invdyn_ros.control.target_planning import hold_plan
from invdyn_ros.control.trajectory_output import MIN_DURATION, TrajectoryOutput

ARM = robot("ur5")
ORIGIN, PERIOD, LATENCY, SAMPLE = 1.7e9, 1 / 125, 0.003, 0.002  # [s]
MAX_DEVIATION = 3e-5  # [rad] of the executed motion from the verified plan


class Run:
    """An arm without lag that follows random targets through an interpolating controller."""

    def __init__(self, seed: int, is_lost: Callable[[float], bool] = lambda _: False) -> None:
        self.arm = ArmController(ARM, ConstantInertiaModel(ARM, "rad"), "rad", 0.0)
        self.output = TrajectoryOutput(ARM.velocity)
        self.follower = TrajectoryController(ARM.home)
        self.random, self.is_lost = np.random.default_rng(seed), is_lost
        self.sent = 0
        self.plans: list[tuple[float, Plan]] = []
        self.setpoints: list[np.ndarray] = []
        self.arm.engage(True)

    def drive(self, seconds: float) -> None:
        ticks = round(PERIOD / SAMPLE)
        for k in range(round(seconds / PERIOD)):
            time = ORIGIN + k * PERIOD
            q = self.follower.sample(time)
            if k % 4 == 0:
                self.aim(time)
            command = self.arm.update(MeasuredState(time, q.copy(), np.empty(0)))
            plan = self.arm.plan
            if plan is not None and command.action is not None:
                self.plans.append((time, plan))
                waypoints = self.output.update(plan, time)
                if waypoints is not None and not self.is_lost(k * PERIOD):
                    self.sent += 1
                    self.follower.send(waypoints, time + LATENCY)
            for i in range(1, ticks + 1):
                self.setpoints.append(self.follower.sample(time + i * SAMPLE))

    def aim(self, time: float) -> None:
        phase = 2.0 * (time - ORIGIN) + np.arange(ARM.n)
        still = np.zeros(ARM.n)
        q = ARM.home + 0.3 * np.sin(phase) + self.random.normal(scale=0.005, size=ARM.n)
        self.arm.set_target(Target(time, State(q, still, still), 0.0))


def planned(run: Run, times: np.ndarray) -> np.ndarray:
    """The plan that was in force at each time."""
    starts = np.array([time for time, _ in run.plans])
    index = np.maximum(np.searchsorted(starts, times, side="right") - 1, 0)
    return np.array([run.plans[i][1].at(t).q for i, t in zip(index, times, strict=True)])


def test_interpolating_controller_executes_the_verified_plan_without_lag() -> None:
    run = Run(0)
    run.drive(4.0)
    setpoints = np.array(run.setpoints)
    times = ORIGIN + SAMPLE * np.arange(1, len(setpoints) + 1)
    assert np.ptp(setpoints, axis=0).min() > 0.3
    error = np.abs(setpoints - planned(run, times)).max()
    # until a new plan arrives, the arm follows the one before
    assert error < MAX_DEVIATION
    assert run.follower.refused == 0
    # and no setpoint jumps: beyond the acceleration limit only by rounding
    qdd = np.diff(setpoints, n=2, axis=0) / SAMPLE**2
    assert (np.abs(qdd).max(0) < 1.1 * ARM.acceleration).all()


@pytest.mark.parametrize("silent_from", [1.013, 1.501, 2.222])
def test_silence_is_a_stop_along_the_verified_plan(silent_from: float) -> None:
    run = Run(1, lambda time: time >= silent_from)
    run.drive(silent_from + 0.02)
    last = [p for t, p in run.plans if t - ORIGIN < silent_from][-1]
    end = ORIGIN + silent_from + 2.0
    times = np.arange(ORIGIN + silent_from, end, SAMPLE)
    executed = np.array([run.follower.sample(t) for t in times])
    expected = np.array([last.at(t).q for t in times])
    assert np.abs(executed - expected).max() < MAX_DEVIATION
    assert last.end_time - ORIGIN - silent_from < 1.0
    np.testing.assert_array_equal(executed[-1], executed[-200])


def test_plan_that_starts_elsewhere_is_joined_slowly() -> None:
    """After some faults the arm holds where it is measured, not where its plan was."""
    output, follower = TrajectoryOutput(ARM.velocity), TrajectoryController(ARM.home)
    first, moved = hold_plan(ARM.home, ORIGIN), ARM.home + 0.1
    follower.send(output.update(first, ORIGIN), ORIGIN)
    follower.sample(ORIGIN + 0.5)
    waypoints = output.update(hold_plan(moved, ORIGIN + 0.5), ORIGIN + 0.5)
    follower.send(waypoints, ORIGIN + 0.5 + LATENCY)
    times = np.arange(0.5 + LATENCY, 2.0, SAMPLE)
    setpoints = np.array([follower.sample(ORIGIN + t) for t in times])
    assert (np.abs(np.diff(setpoints, axis=0)) / SAMPLE < 0.25 * ARM.velocity).all()
    np.testing.assert_allclose(setpoints[-1], moved)


def test_trajectory_at_rest_is_sent_while_it_may_be_lost_and_ends_in_the_future() -> None:
    output, sent = TrajectoryOutput(ARM.velocity), []
    plan = hold_plan(ARM.home, ORIGIN)
    for k in range(250):
        waypoints = output.update(plan, ORIGIN + k * PERIOD)
        if waypoints is not None:
            sent.append(waypoints.start - ORIGIN)
            assert waypoints.time[-1] >= MIN_DURATION
            assert not waypoints.qd.any() and (waypoints.q == ARM.home).all()
    assert sent == pytest.approx([0.0, 0.04, 0.08])
