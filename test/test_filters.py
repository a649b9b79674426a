"""One-Euro filter and rate limiter."""

import numpy as np
import pytest
from synthetic_person import DT

from invdyn_ros.teleop.filters import JointBounds, OneEuroFilter, RateLimiter


def test_one_euro_returns_constant_unchanged():
    one_euro = OneEuroFilter(1.0, 0.5)
    value = np.array([0.3, -2.0, 5.0])
    for _ in range(5):
        assert np.allclose(one_euro(value, DT), value)


def test_one_euro_step_response_is_monotonic():
    one_euro = OneEuroFilter(1.0, 0.5)
    last = one_euro(np.zeros(1), DT)
    for _ in range(50):
        new = one_euro(np.ones(1), DT)
        assert last <= new <= 1
        last = new
    assert last > 0.999


def test_one_euro_commutes_with_rotation():
    rng = np.random.default_rng(0)
    rotation, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    plain, rotated = OneEuroFilter(1.0, 0.5), OneEuroFilter(1.0, 0.5)
    for sample in rng.normal(size=(30, 3)):
        assert np.allclose(rotation @ plain(sample, DT), rotated(rotation @ sample, DT))


def test_one_euro_reduces_jitter_at_rest_and_lag_in_motion():
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(400, 1))
    smooth = OneEuroFilter(0.5, 0.0)
    assert np.std([smooth(n, DT) for n in noise]) < 0.5 * noise.std()
    ramp = 3.0 * DT * np.arange(100)[:, None]
    lags = []
    for beta in (0.0, 0.5, 2.0):
        one_euro = OneEuroFilter(0.5, beta)
        lags.append((ramp[-1] - [one_euro(r, DT) for r in ramp][-1]).item())
    assert lags[0] > 1.5 * lags[1] > 1.5 * lags[2] > 0


def test_one_euro_refuses_a_cutoff_of_zero():
    with pytest.raises(ValueError, match="min_cutoff 0"):
        OneEuroFilter(0.0, 0.5)


def test_rate_limiter_reaches_target_step_within_limits_without_overshoot():
    bounds = JointBounds(np.array([-2.0]), np.array([2.0]), np.array([1.5]), np.array([8.0]))
    limiter = RateLimiter(bounds, np.zeros(1))
    speeds = [0.0]
    for _ in range(40):
        goal = np.array([1.3])
        low, high = limiter.reachable_bounds(goal, DT)
        limiter.move(np.clip(goal, low, high), goal, DT)
        speeds.append(limiter.qd.item())
        assert limiter.q <= 1.3 + 1e-9
    assert np.abs(np.diff(speeds)).max() <= 8.0 * DT + 1e-9
    assert max(speeds) <= 1.5 + 1e-9
    assert np.isclose(limiter.q, 1.3)


def test_rate_limiter_respects_position_limits_for_any_target():
    rng = np.random.default_rng(1)
    bounds = JointBounds(np.full(3, -0.5), np.full(3, 0.5), np.full(3, 3.0), np.full(3, 9.0))
    limiter = RateLimiter(bounds, np.zeros(3))
    speed = limiter.qd
    for _ in range(500):
        low, high = limiter.reachable_bounds(rng.uniform(-2, 2, 3), DT)
        assert (low <= high).all()
        limiter.move(rng.uniform(low, high), rng.uniform(-2, 2, 3), DT)
        assert (np.abs(limiter.q) <= 0.5).all()
        assert (np.abs(limiter.qd - speed) <= 9.0 * DT + 1e-9).all()
        speed = limiter.qd
