from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from invdyn_ros.data.trajectory import Trajectory

JOINTS = ("shoulder", "elbow")


def sine(count: int = 400, rate: float = 125.0, start: float = 10.0) -> Trajectory:
    """Return sines of two joints with their exact derivatives."""
    t = start + np.arange(count) / rate
    w = np.array([2.0, 3.0])
    phase = np.outer(t, w)
    return Trajectory(
        t, np.sin(phase), w * np.cos(phase), -(w**2) * np.sin(phase), phase, JOINTS, "N m"
    )


def test_time_that_does_not_increase_is_refused_with_its_row() -> None:
    time = sine(10).time.copy()
    time[6] = time[5]
    with pytest.raises(ValueError, match="row 6"):
        replace(sine(10), time=time)


def test_value_that_is_not_finite_is_refused_with_its_joint_and_row() -> None:
    action = sine(10).action.copy()
    action[3, 1] = np.nan
    with pytest.raises(ValueError, match=r"action of 'elbow' is nan in row 3"):
        replace(sine(10), action=action)


def test_wrong_shape_and_unit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"velocity has shape \(9, 2\).*\(10, 2\)"):
        replace(sine(10), velocity=np.zeros((9, 2)))
    with pytest.raises(ValueError, match="'Nm', not one of N m, N m without gravity, A, rad"):
        replace(sine(10), action_unit="Nm")


def test_unknown_columns_are_absent_not_zero() -> None:
    bare = replace(sine(), velocity=np.empty((0, 2)), acceleration=np.empty((0, 2)))
    with pytest.raises(ValueError, match="no velocity; use differentiate"):
        _ = bare.motion
    assert bare.differentiate().motion.shape == (400, 6)


def test_resampling_at_the_same_rate_changes_nothing() -> None:
    again = sine().resample(125.0)
    np.testing.assert_allclose(again.time, sine().time, atol=1e-9)
    np.testing.assert_allclose(again.motion, sine().motion, atol=1e-9)


def test_resampled_motion_lies_on_the_true_curve() -> None:
    finer = sine().resample(333.0)
    expected = np.sin(np.outer(finer.time, [2.0, 3.0]))
    np.testing.assert_allclose(finer.position, expected, atol=1e-6)
    assert finer.rate == pytest.approx(333.0)


def test_interpolation_outside_the_trajectory_is_refused() -> None:
    with pytest.raises(ValueError, match="outside"):
        sine().interpolate(np.array([9.0, 11.0]))


def test_acceleration_has_no_delay_and_little_noise() -> None:
    noisy = replace(
        sine(), velocity=sine().velocity + np.random.default_rng(0).normal(0, 1e-3, (400, 2))
    ).differentiate(21)
    error = noisy.acceleration - sine().acceleration
    assert np.sqrt((error**2).mean()) < 0.04  # two-point differences: .18
    # a delay of one sample would correlate the error with the jerk
    jerk = -np.array([8.0, 27.0]) * np.cos(np.outer(noisy.time, [2.0, 3.0]))
    assert abs((error * jerk).sum() / (jerk**2).sum()) < 0.1 / 125.0


def test_derivatives_of_a_cubic_are_exact_at_both_ends_too() -> None:
    t = np.arange(50) / 50.0
    cubic = np.stack([t**3, 1 - t**2], axis=1)
    absent = np.empty((0, 2))
    trajectory = Trajectory(t, cubic, absent, absent, absent, JOINTS, "N m").differentiate(7, 3)
    np.testing.assert_allclose(trajectory.velocity, np.stack([3 * t**2, -2 * t], 1), atol=1e-10)
    np.testing.assert_allclose(trajectory.acceleration, np.stack([6 * t, 0 * t - 2], 1), atol=1e-8)


def test_differentiation_needs_uniform_time() -> None:
    with pytest.raises(ValueError, match="resample"):
        sine()[np.array([*range(30), *range(33, 60)])].differentiate()


def test_shift_pairs_each_action_with_later_motion() -> None:
    action_delay = 0.5 * 1.5 / 125.0
    shifted = sine().shift(action_delay)
    np.testing.assert_allclose(
        shifted.position, np.sin(np.outer(shifted.time + action_delay, [2.0, 3.0])), atol=1e-6
    )
    np.testing.assert_array_equal(shifted.action, sine().action[: len(shifted)])
    assert len(shifted) == 399


def test_segments_are_split_at_gaps() -> None:
    parts = sine()[np.array([*range(100), *range(150, 200)])].segments(0.1)
    assert [len(part) for part in parts] == [100, 50]
