"""Lag, overshoot and jitter of a simulated arm behind a person's hand."""

from __future__ import annotations

import numpy as np
import pytest

from invdyn_ros.benchmarks import gestures, teleop_lag
from invdyn_ros.benchmarks.gestures import GesturingPerson
from invdyn_ros.benchmarks.safety_rig import DrivenArm, Setup
from invdyn_ros.benchmarks.teleop_lag import FollowedGesture, TeleopLagBenchmarkConfig, follow
from invdyn_ros.control.motion_profile import State, Target
from invdyn_ros.teleop.retargeting import RetargetConfig, Retargeter


def test_gesture_is_that_of_a_human_arm_and_noise_is_repeated_by_its_seed():
    person, again = (GesturingPerson(gestures.wave, np.array([0, 0.15, 0])) for _ in range(2))
    for k in range(60):
        landmarks = person(k / 30)
        np.testing.assert_array_equal(landmarks, again(k / 30))
        bones = np.linalg.norm(np.diff(landmarks[[11, 13, 15], :3], axis=0), axis=1)
        np.testing.assert_allclose(bones, [0.29, 0.26], atol=0.05)
    quiet = GesturingPerson(gestures.reach, np.array([0.1, 0, 0]), noise=0.0)
    start, end = (quiet(t)[15, 0] for t in (0.0, 1.5))
    assert end - start == pytest.approx(0.2)


def test_delay_and_gain_of_a_shifted_motion_are_measured():
    time = np.arange(0, 20, 0.008)
    for name, gesture in (("wave", gestures.wave), ("reach", gestures.reach)):
        hand, tool = (
            np.array([[0.1 * size * gesture(max(t - lag, 0.0)), 0, 0] for t in time])
            for size, lag in ((1.0, 0.0), (1.1, 0.09))
        )
        row = teleop_lag._row(name, FollowedGesture(time, hand, tool))
        assert row["lag ms"] == pytest.approx(90, abs=2)
        assert row["overshoot %"] == pytest.approx(10 if name == "wave" else 0, abs=0.5)


@pytest.mark.slow
def test_simulated_arm_follows_a_wave_with_little_lag_and_overshoot():
    config = TeleopLagBenchmarkConfig(seconds=10)
    row = teleop_lag._row("wave", follow(config, gestures.wave, np.array([0, 0, 0.15])))
    assert 0 < row["lag ms"] < 120
    assert row["overshoot %"] < 15


@pytest.mark.slow
def test_both_arms_of_a_person_drive_two_arms_from_the_same_landmarks():
    with DrivenArm(Setup("ur5", "ur5")) as left, DrivenArm(Setup("ur5", "ur5")) as right:
        arms = {"left": left, "right": right}
        retargeters = {}
        for side, arm in arms.items():
            retargeters[side] = Retargeter(arm.robot, RetargetConfig(side=side))
            retargeters[side].reset(arm.robot.home)
        start, image_time = left.time, left.time
        person = GesturingPerson(gestures.wave, np.array([0.0, 0.15, 0.0]), start=start + 2)
        while left.time < start + 6:
            is_due = left.time >= image_time - 1e-9
            landmarks = person(image_time) if is_due else None
            for side, arm in arms.items():
                target = None
                if is_due:
                    moved = retargeters[side](landmarks, image_time)
                    state = State(moved.q, moved.qd, np.zeros(arm.robot.n))
                    target = Target(image_time, state, moved.horizon)
                arm.step(target)
            image_time += is_due / 20
        tools = {}
        for side, arm in arms.items():
            samples = [s for s in arm.samples if s.time > start + 3]
            tools[side] = np.array([arm.robot.forward_kinematics(s.q)[1, 3] for s in samples])
            assert not any(s.fault for s in arm.samples)
    hand = np.sin(np.pi * (np.array([s.time for s in samples]) - start - 2 - 0.09))
    assert np.corrcoef(hand, tools["left"])[0, 1] > 0.97
    assert np.ptp(tools["left"]) > 0.1 and np.ptp(tools["right"]) < 0.03
