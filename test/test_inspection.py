"""Checks of a collected dataset: each kind of fault is named, and good data raise no suspicion."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from oracle import excitation, robot

from invdyn_ros.data.action_units import CURRENT, SETPOINT, TORQUE_WITHOUT_GRAVITY
from invdyn_ros.data.trajectory import Trajectory
from invdyn_ros.models.gravity import convert_actions
from invdyn_ros.sources.import_result import ImportResult
from invdyn_ros.sources.inspection.inspect import Inspection, inspect
from invdyn_ros.sources.source import Collection

NOISE = {"position": 1e-4, "velocity": 5e-3}  # [rad], [rad/s]
MOTIONS = [("ur5", 0), ("ur10", 1)]
GOOD = [*MOTIONS, ("ur5", 1), ("ur5e", 0), ("ur5e", 2), ("kuka_iiwa", 1)]
ORDER = ("position", "velocity", "acceleration", "action")

Fault = Callable[[Trajectory], Trajectory]


def inspected(*parts: Trajectory, arm: str) -> Inspection:
    result = ImportResult(list(parts), sum(map(len, parts)), {})
    return inspect(Collection(result, arm))


@cache
def recorded(arm: str, seed: int) -> Trajectory:
    """A motion as sensors measure it."""
    motion = excitation(robot(arm), seed, seconds=5.0)
    random = np.random.default_rng(seed)
    noise = {k: random.normal(0, std, motion.position.shape) for k, std in NOISE.items()}
    return replace(motion, **{k: getattr(motion, k) + values for k, values in noise.items()})


def changed(**change: Callable[[np.ndarray], np.ndarray]) -> Fault:
    return lambda t: replace(t, **{name: f(getattr(t, name)) for name, f in change.items()})


def rows(t: Trajectory, index: np.ndarray, *names: str) -> Trajectory:
    """Return a trajectory whose columns are those of other rows."""
    return replace(t, **{name: getattr(t, name)[index] for name in names})


def glued(t: Trajectory) -> Trajectory:
    count = len(t) // 2
    return rows(t, np.r_[:count, 100 : 100 + len(t) - count], *ORDER)


def wrapped(t: Trajectory) -> Trajectory:
    middle = np.median(t.position, axis=0)
    return replace(t, position=np.mod(t.position - middle, 2 * np.pi) - np.pi)


def spikes(t: Trajectory) -> Trajectory:
    position = t.position.copy()
    position[50::150, 1] += 0.8
    return replace(t, position=position)


def two_publishers(t: Trajectory) -> Trajectory:
    """Another node publishes other positions."""
    position, velocity = t.position.copy(), t.velocity.copy()
    position[1::2], velocity[1::2] = t.position[0] + 0.5, 0
    return replace(t, position=position, velocity=velocity)


def two_clocks(t: Trajectory) -> Trajectory:
    """Another node publishes the same joints a little later."""
    time = t.time.copy()
    time[1::2] -= 0.35 / t.rate
    return t.interpolate(time)


def constant(name: str) -> Fault:
    def fault(values: np.ndarray) -> np.ndarray:
        return np.where(np.arange(values.shape[1]) == 1, values[:1], values)

    return changed(**{name: fault})


def clipped(name: str) -> Fault:
    def fault(values: np.ndarray) -> np.ndarray:
        return np.clip(values, *np.quantile(values, [0.15, 0.85], axis=0))

    return changed(**{name: fault})


def gap(t: Trajectory) -> Trajectory:
    return replace(t, time=t.time + 2.0 * (np.arange(len(t)) > len(t) // 2))


def without_gravity(t: Trajectory) -> Trajectory:
    (arm,) = (robot(name) for name, seed in MOTIONS if recorded(name, seed) is t)
    bare = convert_actions(t, TORQUE_WITHOUT_GRAVITY, arm.rigid_body_urdf())
    return replace(bare, action_unit=t.action_unit)


FAULTS: dict[str, tuple[str, Fault]] = {
    "degrees": ("positions in degrees", changed(position=np.degrees)),
    "degrees/s": ("velocities in degrees per second", changed(velocity=np.degrees)),
    "both": ("positions in degrees", changed(position=np.degrees, velocity=np.degrees)),
    "setpoints": (
        "setpoints in degrees",
        lambda t: replace(t, action=np.degrees(t.position), action_unit=SETPOINT),
    ),
    "sign": ("velocities with the opposite sign", changed(velocity=np.negative)),
    "order": ("velocities of other joints", changed(velocity=lambda v: v[:, ::-1])),
    "delay": (
        "velocities that are not the slope of the positions",
        changed(velocity=lambda v: np.roll(v, 200, axis=0)),
    ),
    "clock": ("time or velocities with another unit", changed(time=lambda time: 3 * time)),
    "glued": ("episodes glued together", glued),
    "wrap": ("angles that wrap around", wrapped),
    "spikes": ("outliers of the positions", spikes),
    "two publishers": ("two publishers on one topic", two_publishers),
    "two clocks": ("two publishers on one topic", two_clocks),
    "gap": ("a gap within an episode", gap),
    "held": (
        "positions that are repeated",
        lambda t: rows(t, np.arange(len(t)) // 3 * 3, "position"),
    ),
    "constant position": ("constant positions", constant("position")),
    "constant velocity": ("constant velocities", constant("velocity")),
    "constant effort": ("constant actions", constant("action")),
    "no effort": ("actions without information", changed(action=np.zeros_like)),
    "clipped velocity": ("clipped velocities", clipped("velocity")),
    "clipped effort": ("clipped actions", clipped("action")),
    "mN m": ("effort beyond that of the arm", changed(action=lambda a: 1000 * a)),
    "current": ("effort in another unit", changed(action=lambda a: 0.08 * a)),
    "torque": ("effort in another unit", lambda t: replace(t, action_unit=CURRENT)),
    "no gravity": ("gravity in or out of the effort", without_gravity),
    "opposite effort": ("effort with the opposite sign", changed(action=np.negative)),
    "gravity": (
        "gravity in or out of the effort",
        lambda t: replace(t, action_unit=TORQUE_WITHOUT_GRAVITY),
    ),
}


@pytest.mark.parametrize(("arm", "seed"), GOOD)
def test_good_data_raise_no_suspicion(arm: str, seed: int) -> None:
    """Neither do coarse encoders, jittered stamps, short breaks and a missing effort."""
    motion = recorded(arm, seed)
    random = np.random.default_rng(seed)
    coarse = changed(
        position=lambda q: np.round(q / 1e-3) * 1e-3, velocity=lambda v: np.round(v / 0.02) * 0.02
    )
    kept = motion[np.flatnonzero(random.random(len(motion)) > 0.1)]
    jitter = random.uniform(-0.3, 0.3, len(kept)) / motion.rate
    for good in (
        motion,
        coarse(motion),
        kept.interpolate(np.clip(kept.time + jitter, kept.time[0], kept.time[-1])),
        replace(motion, action=motion.action[:0], velocity=motion.velocity[:0]),
    ):
        assert inspected(good, good[: len(good) // 2], arm=arm).suspicions == []


@pytest.mark.parametrize("name", FAULTS)
def test_fault_is_named_and_data_are_not_changed(name: str) -> None:
    what, fault = FAULTS[name]
    for arm, seed in MOTIONS:
        data = fault(recorded(arm, seed))
        before = {name: getattr(data, name).copy() for name in ("time", *ORDER)}
        (suspicion,) = inspected(data, arm=arm).suspicions
        assert suspicion.what == what and suspicion.evidence and suspicion.remedy
        for column, values in before.items():
            np.testing.assert_array_equal(getattr(data, column), values)


def test_table_has_the_rate_and_the_range_of_each_joint() -> None:
    motion = recorded("ur5", 0)
    timing, header, *joints, effort = inspected(motion, arm="ur5").lines
    assert timing == "625 rows, 1 episodes, 5.0 s at 125 Hz, evenly spaced, no gaps"
    assert "velocity [rad/s] (limits)" in header and "action [N m]" in header
    low, high = motion.position[:, 0].min(), motion.position[:, 0].max()
    assert joints[0].startswith(f"shoulder_pan_joint   {low:.3g} .. {high:.3g} (-6.28 .. 6.28)")
    assert len(joints) == 6 and effort.startswith("effort: URDF and friction explain 100% as N m")


def test_inertias_of_a_urdf_that_are_placeholders_tell_no_unit() -> None:
    """As those of a Panda whose wrist is ten times too heavy."""
    motion = recorded("ur10", 1)
    factor = np.array([0.5, 1.0, 1.0, 0.4, 0.3, 0.01])
    inspection = inspected(replace(motion, action=factor * motion.action), arm="ur10")
    assert inspection.suspicions == []
