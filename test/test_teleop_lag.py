"""Lag, overshoot and jitter of a simulated arm behind a person's hand."""

from __future__ import annotations

import numpy as np
import pytest

from invdyn_ros.benchmarks import gestures, teleop_lag
from invdyn_ros.benchmarks.gestures import GesturingPerson
from invdyn_ros.benchmarks.teleop_lag import FollowedGesture, TeleopLagBenchmarkConfig, follow


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
