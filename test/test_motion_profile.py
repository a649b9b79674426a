"""Motion profiles: exact extrema, and the fastest stop."""

from __future__ import annotations

import numpy as np
import pytest
from arm_limits import limits_of
from ruckig import ControlInterface, InputParameter, Ruckig, Synchronization, Trajectory

from invdyn_ros.control.fastest_stop import fastest_stop, stop_pieces
from invdyn_ros.control.motion_profile import Extrema, MotionProfile, Plan, State, integrate


def random_profile(rng: np.random.Generator) -> MotionProfile:
    """Random pieces, some of no jerk, of no acceleration or of no duration, and a stop."""
    limits, count, n = limits_of("dofbot"), rng.integers(1, 9), 5
    start = State(*(rng.standard_normal((3, n)) * rng.integers(0, 2, (3, n))))
    jerk = 20 * rng.standard_normal((count, n)) * rng.integers(0, 2, (count, n))
    duration = rng.uniform(0, 0.5, (count, n)) * rng.integers(0, 4, (count, n)).clip(0, 1)
    _, _, qd, qdd, _ = integrate(start, jerk, duration)[:, -1]
    stop_jerk, stop_duration = fastest_stop(qd, qdd, limits)
    pieces = integrate(start, np.vstack([jerk, stop_jerk]), np.vstack([duration, stop_duration]))
    pieces[2:, -1] = 0.0
    return MotionProfile(pieces)


def test_extrema_are_those_of_dense_samples() -> None:
    rng = np.random.default_rng(0)
    for case in range(100):
        profile = random_profile(rng)
        times = np.linspace(0, profile.duration, 4001)
        extrema = [profile.extrema(joint) for joint in range(5)]
        smallest, largest = np.stack(extrema, axis=2)
        scale = 1 + np.abs([smallest, largest]).max()
        for k, values in enumerate(profile.sample(times)):
            assert (values >= smallest[k] - 1e-12 * scale).all()
            assert (values <= largest[k] + 1e-12 * scale).all()
            steps = 1e-3 * scale + np.abs(np.diff(values, axis=0)).max()
            assert (values.min(axis=0) <= smallest[k] + steps).all()
            assert (values.max(axis=0) >= largest[k] - steps).all()
        assert profile.joints_within(Extrema(smallest - 9e9, largest + 9e9)) is None
        tight = smallest.copy()
        tight[case % 4, 2] += 1e-6
        within = profile.joints_within(Extrema(tight, largest + 9e9))
        assert within is not None and not within[2]
        # joints that pass by their control points are those of which no extremum is outside
        assert (smallest >= tight)[:, within].all()


def test_samples_are_states_at_their_times() -> None:
    plan = Plan(3.0, random_profile(np.random.default_rng(1)))
    times = np.array(
        [-1e9, 0.0, 3.0, 3.1, 3.5, plan.end_time - 1e-9, plan.end_time + 1e-9, np.inf]
    )
    q, qd = plan.sample(times)
    for row, time in enumerate(times):
        state = plan.at(time)
        np.testing.assert_array_equal(state.q, q[row])
        np.testing.assert_array_equal(state.qd, qd[row])
        assert time <= plan.end_time or not np.any([state.qd, state.qdd])


@pytest.mark.parametrize("arm", ["ur5", "kuka_iiwa"])
def test_stop_is_as_fast_as_the_one_of_ruckig(arm: str) -> None:
    limits, rng = limits_of(arm), np.random.default_rng(2)
    n = limits.lower.size
    for _ in range(200):
        qd = rng.uniform(-1, 1, n) * limits.velocity * rng.integers(0, 2, n)
        qdd = rng.uniform(-1, 1, n) * limits.acceleration * rng.integers(0, 2, n)
        request, motion = InputParameter(n), Trajectory(n)
        request.control_interface = ControlInterface.Velocity
        request.synchronization = Synchronization.No
        request.current_velocity, request.current_acceleration = qd.tolist(), qdd.tolist()
        request.max_acceleration = limits.acceleration.tolist()
        request.max_jerk = limits.jerk.tolist()
        Ruckig(n).calculate(request, motion)
        jerk, duration = fastest_stop(qd, qdd, limits)
        start = State(rng.standard_normal(n), qd, qdd)
        pieces = integrate(start, jerk, duration)
        np.testing.assert_allclose(pieces[2:4, -1], 0, atol=1e-12)
        np.testing.assert_array_equal(stop_pieces(start, limits)[:2], pieces[:2])
        np.testing.assert_array_equal(stop_pieces(start, limits)[2:, :-1], pieces[2:, :-1])
        np.testing.assert_allclose(pieces[0, -1], motion.independent_min_durations, atol=1e-9)
        assert (np.abs(pieces[3]) <= limits.acceleration * (1 + 1e-12)).all()
