"""Filter of directions: calm at rest, without lag in motion, whatever the noise and the rate."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from invdyn_ros.teleop.motion_filter import MotionFilter

NOISE = np.array([0.03, 0.015, 0.015])


def filtered(samples, dt, horizon=0.0, noise=NOISE):
    """Return the filtered samples (T, 3)."""
    motion_filter, values = MotionFilter(noise), []
    for sample in samples:
        motion_filter.update(sample, dt)
        values.append(motion_filter.predict(horizon))
    return np.array(values)


def correlated_noise(count, dt, seed=0):
    """Return noise (T, 3) as of MediaPipe, of standard deviation one."""
    rng = np.random.default_rng(seed)
    kept, noise = np.exp(-dt / 0.05), np.zeros((count, 3))
    for previous, current in pairwise(noise):
        current[:] = kept * previous + np.sqrt(1 - kept**2) * rng.standard_normal(3)
    return noise


def test_constant_stays_unchanged_and_a_ramp_is_predicted():
    value = np.array([0.3, -2.0, 5.0])
    np.testing.assert_allclose(filtered(np.tile(value, (30, 1)), 0.05), np.tile(value, (30, 1)))
    ramp = np.outer(np.arange(60) * 0.05, [1.0, -0.5, 0.2])
    predicted = filtered(ramp, 0.05, horizon=0.1)
    np.testing.assert_allclose(
        predicted[-1], ramp[-1] + 0.1 * np.array([1.0, -0.5, 0.2]), atol=5e-3
    )


@pytest.mark.parametrize("dt", [1 / 20, 1 / 30, 1 / 60])
def test_rest_is_calm_and_motion_has_little_lag_at_every_rate(dt):
    time = np.arange(0, 20, dt)
    noise = NOISE * correlated_noise(len(time), dt)
    assert (filtered(noise, dt)[len(time) // 5 :].std(axis=0) < 0.4 * NOISE).all()
    wave = np.outer(np.sin(np.pi * time), [0.6, 0.6, 0.6])  # 0.5 Hz
    shifted = [
        np.abs(
            filtered(wave + noise, dt)[50:] - 0.6 * np.sin(np.pi * (time - lag))[50:, None]
        ).mean()
        for lag in (0.0, 0.06, 0.12)
    ]
    assert shifted[0] < shifted[1] < shifted[2]


def test_noise_is_estimated_from_the_samples():
    """More noise than assumed makes rest less calm, but not in proportion to an assumption."""
    dt, scale = 1 / 30, 2.5
    motion_filter = MotionFilter(NOISE)
    for sample in scale * NOISE * correlated_noise(400, dt):
        motion_filter.update(sample, dt)
    np.testing.assert_allclose(motion_filter.noise, scale * NOISE, rtol=0.5)
    before = motion_filter.noise.copy()
    motion_filter.reset()
    np.testing.assert_array_equal(motion_filter.noise, before)


def test_depth_is_calmer_where_its_noise_is_larger():
    dt = 1 / 30
    step = np.outer(np.arange(60) >= 30, [0.05, 0.05, 0.05])
    first = filtered(step, dt)[30]
    assert first[0] < first[1]


def test_filter_without_a_sample_predicts_nothing():
    with pytest.raises(ValueError, match="update it first"):
        MotionFilter(NOISE).predict(0.1)
