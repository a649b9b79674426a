"""Drift monitor: size of another load and of more friction, and no false alarm."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from benchmark_report import report_of
from plant_oracle import robot

from invdyn_ros.benchmarks import model_drift
from invdyn_ros.control.computed_torque import MeasuredState
from invdyn_ros.control.controller_loading import load_controller
from invdyn_ros.control.drift_monitor import LOAD, DriftMonitor
from invdyn_ros.evaluation.closed_loop import excitation_motion
from invdyn_ros.models.residual_metadata import (
    RESIDUALS_KEY,
    ResidualStatistics,
    residual_statistics,
)
from invdyn_ros.models.runtime import load_runtime
from invdyn_ros.robots.robot import package_file

ARM, JOINT, SECONDS = robot("ur5"), 1, 10.0
CHECKPOINT = str(package_file("config/checkpoints/ur5"))


@pytest.fixture(scope="module")
def model():
    return load_runtime(CHECKPOINT, "cpu", ARM)


def drive(model, load=0.0, friction=0.0, statistics=None):
    """Move an arm that differs from its model by a load [kg] and by friction of a joint [N m]."""
    statistics = statistics or ResidualStatistics.from_metadata(model.meta)
    monitor, noise = DriftMonitor(ARM, model, statistics), np.random.default_rng(0)
    frequency = np.linspace(0.2, 0.45, 6) * 2 * np.pi
    period, delay = 1 / ARM.rate, model.meta.action_delay
    for k in range(round(SECONDS * ARM.rate)):
        phase, late = frequency * k * period, frequency * (k * period + delay)
        frame = motion(late, frequency)
        q, qd, qdd = frame.reshape(3, -1)
        jacobian = ARM.jacobian(q)[:3]
        torque = model.act(frame) + load * (jacobian @ qdd + [0, 0, 9.81]) @ jacobian
        torque[JOINT] += friction * np.tanh(qd[JOINT] / 0.02)
        q, qd, _ = motion(phase, frequency).reshape(3, -1)
        qd = qd + 1e-3 * noise.standard_normal(6)
        monitor.add(MeasuredState(k * period, q, qd), torque + statistics.std * noise.normal())
    return monitor


def motion(phase, frequency, amplitude=0.4):
    q = ARM.home + amplitude * np.sin(phase)
    qd = amplitude * frequency * np.cos(phase)
    return np.concatenate([q, qd, -amplitude * frequency**2 * np.sin(phase)])


def test_arm_like_its_model_has_no_drift(model):
    monitor = drive(model)
    assert not monitor.drifts and abs(monitor.estimate[0]) < 0.1


def test_load_and_friction_are_named_with_their_size(model):
    (load,) = drive(model, load=1.0).drifts
    assert load.name == LOAD and abs(load.value - 1) < 0.15 and load.joint in ARM.joint_names
    monitor = drive(model, load=1.0, friction=3.0)
    names = {drift.name: drift.value for drift in monitor.drifts}
    assert names.keys() == {LOAD, f"friction of {ARM.joint_names[JOINT]}"}
    np.testing.assert_allclose([*names.values()], [1.0, 3.0], rtol=0.2)
    assert "kg" in str(monitor.drifts[0]) and "limit" in str(monitor.drifts[0])
    monitor.reset()
    assert not monitor.drifts


def test_residuals_as_large_as_on_validation_data_are_no_drift(model):
    """A model that is known to be bad does not tell a small load."""
    known = ResidualStatistics.from_metadata(model.meta)
    bad = known._replace(std=30 * known.std, correlation_time=np.full(6, 1.0))
    assert not drive(model, load=0.6, statistics=bad).drifts


def test_statistics_of_residuals_are_those_of_an_autoregressive_process():
    random, rate, decay = np.random.default_rng(0), 100.0, 0.9
    noise = random.standard_normal((4, 5000, 2))
    for k in range(1, 5000):
        noise[:, k] += decay * noise[:, k - 1]
    statistics = residual_statistics([3.0 * r for r in noise], rate)
    np.testing.assert_allclose(statistics.std, 3 / np.sqrt(1 - decay**2), rtol=0.05)
    # the sum of decay^k less one half
    np.testing.assert_allclose(
        statistics.correlation_time, (1 / (1 - decay) - 0.5) / rate, rtol=0.2
    )


@pytest.mark.slow
def test_benchmark_names_load_and_friction_of_a_simulated_arm(tmp_path, monkeypatch):
    monkeypatch.setattr(model_drift, "CHANGED_SECONDS", 8.0)
    monkeypatch.setattr(model_drift, "MOTIONS", (excitation_motion,))
    report = report_of(
        tmp_path, "model_drift", "--arms", "ur5", "--seconds", "4", "--seeds", "1", "--load", "2"
    )
    row = report["rows"]["ur5"]
    assert not (row["false alarms"] or row["load not named"])
    assert row["load worst s"] < 6 and row["friction not named"] <= 2


def test_shipped_checkpoint_is_watched_and_an_old_one_is_not(model):
    assert load_controller(ARM, CHECKPOINT).controller.actions.drift is not None
    data = {k: v for k, v in model.meta.data.items() if k != RESIDUALS_KEY}
    assert ResidualStatistics.from_metadata(replace(model.meta, data=data)) is None
    data[RESIDUALS_KEY] = {"std": [1.0], "correlation_time": [1.0]}
    with pytest.raises(ValueError, match="not those of 6 joints"):
        ResidualStatistics.from_metadata(replace(model.meta, data=data))
