"""Control of an arm with missing joint states, by prediction for a limited time."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from arm_state_models import RATE, bridge, waves
from oracle import robot

from invdyn_ros.benchmarks.joint_state_dropout import NoPrediction, drive
from invdyn_ros.control.computed_torque import MeasuredState
from invdyn_ros.control.controller import ArmController
from invdyn_ros.control.dropout_controller import JOINT_STATES_MISSING, DropoutController
from invdyn_ros.control.faults import STOPPED
from invdyn_ros.control.learned_state_predictor import LearnedStatePredictor, impute
from invdyn_ros.control.motion_profile import State, Target
from invdyn_ros.control.safety_limits import SafetyLimitsConfig
from invdyn_ros.control.state_predictor import StatePredictor, StatePredictorConfig
from invdyn_ros.control.target_planning import hold_plan
from invdyn_ros.evaluation.closed_loop import (
    LossyChannel,
    ZeroOrderHold,
    excitation_motion,
    replay,
)
from invdyn_ros.models.checkpoint import load
from invdyn_ros.models.mujoco_rigid_body import urdf_model
from invdyn_ros.models.runtime import fastest_runtime
from invdyn_ros.models.timeseries.observations import Motions, Observations
from invdyn_ros.models.timeseries.registry import build_time_series_model
from invdyn_ros.models.timeseries.time_series_model import TimeSeriesMetadata
from invdyn_ros.robots.robot import package_file

UR5 = robot("ur5")
STEP = 1 / RATE
SHIPPED = package_file("config/checkpoints/ur5")


def state(time: float) -> State:
    """State of a plan in which all joints leave home with constant acceleration."""
    ones = np.ones(6)
    return State(UR5.home + 0.5 * time**2 * ones, time * ones, ones)


class ConstantAccelerationPlan:
    """A plan whose states are those of `state`."""

    at = staticmethod(state)


def observe(
    predictor: LearnedStatePredictor, time: float, error: float = 0.0, rate_error: float = 0.0
) -> MeasuredState:
    """Add a joint state with a tracking error to a predictor, and return it."""
    desired = state(time)
    measured = MeasuredState(time, desired.q + error, desired.qd + rate_error)
    predictor.update(measured, desired)
    return measured


# closed loop


def test_learned_predictor_tracks_better_than_zero_order_hold_with_dropped_joint_states() -> None:
    """Half of them are dropped, the same ones for both; without drops the results are equal."""
    inverse = load(SHIPPED, "cpu", UR5)
    runtime = fastest_runtime(inverse)

    def rms(predictor: StatePredictor, drop_rate: float, seconds: float = 6.0) -> float:
        return drive(UR5, inverse, runtime, predictor, drop_rate, 1, seconds).rms

    learned, hold = (
        rms(predictor, 0.5)
        for predictor in (LearnedStatePredictor(bridge(), UR5), ZeroOrderHold())
    )
    lossless = rms(ZeroOrderHold(), 0.0)
    assert learned < 0.7 * hold
    assert learned - lossless < 0.2 * (hold - lossless)
    assert rms(LearnedStatePredictor(bridge(), UR5), 0.0, 1.0) == rms(ZeroOrderHold(), 0.0, 1.0)


def test_arm_brakes_when_its_state_cannot_be_predicted() -> None:
    inverse, desired = urdf_model(UR5, "N m"), excitation_motion(UR5, (1, 2), 1.5)
    arrived = np.arange(len(desired.time)) < 40
    predictor = LearnedStatePredictor(bridge(), UR5, StatePredictorConfig(max_dropout=0.045))
    run = replay(UR5, inverse, "N m", 0.0, desired, channel=LossyChannel(arrived, predictor))
    changed = np.flatnonzero(np.abs(np.diff(run.action, axis=0)).max(1))
    assert changed.max() + 1 == 39 + 5  # the last joint state is 39; 5 samples are 40 ms, 6 are 48
    speed = np.abs(np.diff(run.measured, axis=0)).max(1) * RATE
    assert speed[-20:].max() < 0.01 < speed[30:40].max()


def test_channel_without_the_first_joint_state_is_refused() -> None:
    desired = excitation_motion(UR5, (1, 2), 1.0)
    for arrived in (np.zeros(len(desired.time), bool), np.ones(20, bool)):
        with pytest.raises(ValueError, match="it must have as many, and the first must arrive"):
            replay(
                UR5,
                urdf_model(UR5, "N m"),
                "N m",
                0.0,
                desired,
                channel=LossyChannel(arrived, NoPrediction()),
            )


# state prediction


@pytest.mark.parametrize("error", [(0.0, 0.0), (0.01, 0.0), (-0.005, 0.2)])
def test_prediction_is_the_plan_plus_the_last_tracking_error(
    error: tuple[float, float],
) -> None:
    predictor, offset, rate_error = LearnedStatePredictor(bridge(), UR5), *error
    observe(predictor, 0.0, offset, rate_error)
    for k in range(1, 12):
        predicted, plan = predictor.predict(k * STEP, ConstantAccelerationPlan), state(k * STEP)  # type: ignore[arg-type]
        assert predicted is not None and predicted.time == k * STEP
        np.testing.assert_allclose(predicted.q, plan.q + offset + k * STEP * rate_error, atol=2e-5)
        np.testing.assert_allclose(predicted.qd, plan.qd + rate_error, atol=2e-3)


def test_no_prediction_before_the_first_state_without_a_plan_or_after_max_dropout() -> None:
    predictor, plan = (
        LearnedStatePredictor(bridge(), UR5, StatePredictorConfig(max_dropout=0.1)),
        hold_plan(UR5.home, 0.0),
    )
    assert predictor.predict(0.0, plan) is None
    measured = observe(predictor, 0.0)
    assert predictor.predict(0.0, plan) is measured and predictor.predict(STEP, None) is None
    assert predictor.predict(0.099, plan) is not None and predictor.predict(0.101, plan) is None
    predictor.update(measured, None)  # the arm is not driven
    assert predictor.predict(STEP, plan) is None


def test_repeated_earlier_and_infinite_joint_states_are_handled() -> None:
    predictor, plan = LearnedStatePredictor(bridge(), UR5), hold_plan(UR5.home, 0.0)
    observe(predictor, 5.0)
    repeated = observe(predictor, 5.0, 0.1)
    assert predictor.predict(5.0, plan) is repeated
    for bad in (np.nan, np.inf):
        predictor.update(MeasuredState(5.01, UR5.home * bad, np.zeros(6)), state(0))
        predictor.update(MeasuredState(5.01, UR5.home, np.full(6, bad)), state(0))
    assert predictor.predict(5.0, plan) is repeated
    with pytest.raises(ValueError, match=r"time 4\.9 s is before the last joint state, at 5\.0 s"):
        predictor.predict(4.9, plan)
    restarted = observe(predictor, 1.0)
    assert predictor.predict(1.0, plan) is restarted
    late, early = predictor.predict(1.05, plan), predictor.predict(1.01, plan)
    assert late is not None and early is not None and early.time == 1.01


def test_model_of_another_arm_and_missing_velocities_are_refused() -> None:
    with pytest.raises(
        ValueError, match=r"the time-series model is of joint_1.*'ur5' has shoulder_pan"
    ):
        LearnedStatePredictor(bridge("dofbot"), UR5)
    with pytest.raises(ValueError, match="joint states have no velocity"):
        LearnedStatePredictor(bridge(), UR5).update(
            MeasuredState(0.0, UR5.home, np.empty(0)), state(0)
        )


@pytest.mark.parametrize("family", ["gru_dt", "ode_rnn", "latent_ode", "bridge"])
def test_imputation_is_continuous_at_observations(family: str) -> None:
    """Untrained weights are inaccurate, but not just before and after observations."""
    torch.manual_seed(0)
    model = build_time_series_model(
        TimeSeriesMetadata(family, "ur5", UR5.joint_names, RATE)
    ).eval()
    near = np.array([-1e-5, 0.0, 1e-5])
    stamps = np.concatenate([np.arange(6) / RATE + 0.1 * k for k in range(4)])
    stamps = np.sort(np.concatenate([stamps, *(0.15 + 0.1 * k + near for k in range(3))]))
    time = torch.from_numpy(stamps)[None]
    true = torch.from_numpy(waves(stamps)).float()[None]
    model.standardise(Motions(true, time))
    rows = torch.from_numpy(np.isin(stamps, 0.15 + 0.1 * np.arange(3)))[None]
    assert rows.sum() == 3
    predicted = impute(
        model, Observations(torch.where(rows[..., None], true, torch.nan), time, rows)
    )
    assert torch.equal(predicted[rows], true[rows])
    close = torch.from_numpy(np.abs(stamps[:, None] - stamps[rows[0]]).min(1) < 2e-5)
    torch.testing.assert_close(predicted[0, close], true[0, close], rtol=0, atol=5e-3)
    assert predicted.isfinite().all()


# control loop with irregular joint states


class SimulatedLoop:
    """An engaged controller with state prediction; the clock is an argument."""

    def __init__(self, max_dropout: float = 0.1) -> None:
        self.controller = ArmController(
            UR5, urdf_model(UR5, "N m"), "N m", 0.0, SafetyLimitsConfig(slow_in_time=0.0)
        )
        self.controller.engage(True)
        predictor = LearnedStatePredictor(bridge(), UR5, StatePredictorConfig(max_dropout))
        self.loop = DropoutController(self.controller, predictor)

    def receive(self, stamp: float, clock: float) -> bool:
        """Return whether a joint state leads to an action."""
        plan = self.controller.plan
        desired = plan.at(stamp) if plan else state(0)
        command = self.loop.on_joint_state(MeasuredState(stamp, desired.q, desired.qd), clock)
        return command is not None and command.action is not None


def test_missing_samples_are_predicted_one_by_one_up_to_max_dropout() -> None:
    arm = SimulatedLoop(max_dropout=0.05)
    assert arm.receive(7.0, 100.0)
    times, num_without_action = [], 0
    for clock in np.arange(100.0, 100.15, 0.002):
        stamped = arm.loop.predict_missing(float(clock))
        if stamped is not None and stamped.command.action is not None:
            times.append(stamped.time)
        elif stamped is not None:
            num_without_action += 1
            assert stamped.command.reason == JOINT_STATES_MISSING
    np.testing.assert_allclose(times, 7.0 + STEP * np.arange(1, 7))
    assert num_without_action > 0 and arm.loop.predicted_count == 6
    arm.controller.set_target(Target(7.1, State(UR5.home + 0.1, np.zeros(6), np.zeros(6)), 0.0))
    assert not arm.receive(7.15, 100.15), "a target is no joint state"
    assert arm.controller.fault is not None and arm.controller.fault.reason == STOPPED


def test_late_joint_states_are_used_but_commands_never_go_back_in_time() -> None:
    arm = SimulatedLoop()
    arm.receive(7.0, 100.0)
    arm.controller.set_target(Target(7.0, State(UR5.home + 0.1, np.zeros(6), np.zeros(6)), 0.0))
    predicted = arm.loop.predict_missing(100.021)
    assert predicted is not None and predicted.time == pytest.approx(7.016)
    assert not arm.receive(7.012, 100.022)
    assert arm.loop.predict_missing(100.023) is None
    plan = arm.controller.plan
    assert plan is not None and plan.hold_reason is None, "time never went back"
    assert arm.receive(7.024, 100.024)


def test_no_commands_before_a_joint_state_and_while_disengaged() -> None:
    arm = SimulatedLoop()
    assert arm.loop.predict_missing(1e3) is None
    arm.receive(7.0, 100.0)
    arm.controller.stop()
    assert arm.loop.predict_missing(100.02) is None
    arm.controller.engage(True)
    stamped = arm.loop.predict_missing(100.021)
    assert stamped is not None and stamped.command.action is None  # no start to predict from
    assert not arm.receive(0.5, 101.0) and arm.receive(0.508, 101.008), "time may start again"
