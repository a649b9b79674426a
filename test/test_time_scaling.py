"""Time scaling of a motion that is stopped and continued."""

from __future__ import annotations

import numpy as np

from invdyn_ros.control.motion_profile import State
from invdyn_ros.grasp.policies.time_scaling import TimeScaling


def test_a_motion_that_is_never_stopped_keeps_its_exact_times() -> None:
    scaling, rng = TimeScaling(), np.random.default_rng(0)
    times = 1.7e9 + np.cumsum(rng.uniform(0, 0.1, 100))
    assert all(scaling.update(time, True) == time for time in times)


def test_scaled_velocities_and_accelerations_are_derivatives_of_the_positions() -> None:
    scaling, times, states = TimeScaling(), np.arange(0.0, 3.0, 1e-3), []
    for time in times:
        scaled = scaling.update(time, not 0.5 < time < 1.5)
        q = np.array([np.sin(scaled)])
        states.append(scaling.scale(State(q, np.array([np.cos(scaled)]), -q)))
    q, qd, qdd = (np.concatenate(column) for column in zip(*states, strict=True))
    np.testing.assert_allclose(np.gradient(q, times)[1:-1], qd[1:-1], atol=2e-3)
    switches = np.array([0.5, 1.0, 1.5, 2.0])  # starts and ends of braking and of speeding up
    smooth = np.abs(times[:, None] - switches).min(axis=1) > 5e-3
    np.testing.assert_allclose(np.gradient(qd, times)[smooth][1:-1], qdd[smooth][1:-1], atol=5e-3)
    assert scaling.rate == 1.0
    stopped = (times > 1.01) & (times < 1.49)
    assert not qd[stopped].any()
