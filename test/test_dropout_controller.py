"""An arm whose joint states are missing is driven on, for a while, by what was seen before."""

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
from invdyn_ros.control.safety_limits import State, Target, hold_plan
from invdyn_ros.control.state_predictor import (
    LearnedStatePredictor,
    StatePredictor,
    StatePredictorConfig,
    impute,
)
from invdyn_ros.evaluation.closed_loop import (
    LossyChannel,
    ZeroOrderHold,
    excitation_motion,
    replay,
)
from invdyn_ros.models.checkpoint import load
from invdyn_ros.models.rigid_body import urdf_model
from invdyn_ros.models.runtime import fastest_runtime
from invdyn_ros.models.timeseries.observations import Motions, Observations
from invdyn_ros.models.timeseries.registry import build_time_series_model
from invdyn_ros.models.timeseries.time_series_model import TimeSeriesMetadata
from invdyn_ros.robots.robot import package_file

UR5 = robot("ur5")
STEP = 1 / RATE
SHIPPED = package_file("config/checkpoints/ur5")


def state(time: float) -> State:
    """Where a plan is that all joints follow from home, with steady acceleration."""
    ones = np.ones(6)
    return State(UR5.home + 0.5 * time**2 * ones, time * ones, ones)


class Course:
    """A plan whose states are those of `state`."""

    at = staticmethod(state)


def seen(
    blind: LearnedStatePredictor, time: float, error: float = 0.0, rate_error: float = 0.0
) -> MeasuredState:
    wanted = state(time)
    measured = MeasuredState(time, wanted.q + error, wanted.qd + rate_error)
    blind.update(measured, wanted)
    return measured


# closed loop


def test_learned_predictor_tracks_better_than_zero_order_hold_with_dropped_joint_states() -> None:
    """Half of them are lost at random, the same ones for both; with them all, both drive alike."""
    inverse = load(SHIPPED, "cpu", UR5)
    runtime = fastest_runtime(inverse)

    def driven(sight: StatePredictor, drop: float, seconds: float = 6.0) -> float:
        return drive(UR5, inverse, runtime, sight, drop, 1, seconds).rms

    path, last = (
        driven(sight, 0.5) for sight in (LearnedStatePredictor(bridge(), UR5), ZeroOrderHold())
    )
    assert path < 0.7 * last
    assert path < 1.05 * driven(ZeroOrderHold(), 0.0)
    assert driven(LearnedStatePredictor(bridge(), UR5), 0.0, 1.0) == driven(
        ZeroOrderHold(), 0.0, 1.0
    )


def test_arm_brakes_when_its_state_cannot_be_predicted() -> None:
    inverse, wanted = urdf_model(UR5, "N m"), excitation_motion(UR5, (1, 2), 1.5)
    arrived = np.arange(len(wanted.time)) < 40
    blind = LearnedStatePredictor(bridge(), UR5, StatePredictorConfig(max_dropout=0.045))
    run = replay(UR5, inverse, "N m", 0.0, wanted, channel=LossyChannel(arrived, blind))
    changed = np.flatnonzero(np.abs(np.diff(run.action, axis=0)).max(1))
    assert changed.max() + 1 == 39 + 5  # the last one seen is 39; 5 samples are 40 ms, 6 are 48
    speed = np.abs(np.diff(run.measured, axis=0)).max(1) * RATE
    assert speed[-20:].max() < 0.01 < speed[30:40].max()


def test_channel_without_the_first_joint_state_is_refused() -> None:
    wanted = excitation_motion(UR5, (1, 2), 1.0)
    for arrived in (np.zeros(len(wanted.time), bool), np.ones(20, bool)):
        with pytest.raises(
            ValueError, match="it must be as long, and its first sample must arrive"
        ):
            replay(
                UR5,
                urdf_model(UR5, "N m"),
                "N m",
                0.0,
                wanted,
                channel=LossyChannel(arrived, NoPrediction()),
            )


# what is said of the missing states


@pytest.mark.parametrize("error", [(0.0, 0.0), (0.01, 0.0), (-0.005, 0.2)])
def test_prediction_is_the_plan_plus_the_last_tracking_error(
    error: tuple[float, float],
) -> None:
    blind, offset, drift = LearnedStatePredictor(bridge(), UR5), *error
    seen(blind, 0.0, offset, drift)
    for k in range(1, 12):
        found, plan = blind.predict(k * STEP, Course), state(k * STEP)  # type: ignore[arg-type]
        assert found is not None and found.time == k * STEP
        np.testing.assert_allclose(found.q, plan.q + offset + k * STEP * drift, atol=2e-5)
        np.testing.assert_allclose(found.qd, plan.qd + drift, atol=2e-3)


def test_no_prediction_before_the_first_state_without_a_plan_or_after_max_dropout() -> None:
    blind, plan = (
        LearnedStatePredictor(bridge(), UR5, StatePredictorConfig(max_dropout=0.1)),
        hold_plan(UR5.home, 0.0),
    )
    assert blind.predict(0.0, plan) is None
    measured = seen(blind, 0.0)
    assert blind.predict(0.0, plan) is measured and blind.predict(STEP, None) is None
    assert blind.predict(0.099, plan) is not None and blind.predict(0.101, plan) is None
    blind.update(measured, None)  # it is driven no more
    assert blind.predict(STEP, plan) is None


def test_repeated_earlier_and_infinite_joint_states() -> None:
    blind, plan = LearnedStatePredictor(bridge(), UR5), hold_plan(UR5.home, 0.0)
    seen(blind, 5.0)
    again = seen(blind, 5.0, 0.1)
    assert blind.predict(5.0, plan) is again
    for bad in (np.nan, np.inf):
        blind.update(MeasuredState(5.01, UR5.home * bad, np.zeros(6)), state(0))
        blind.update(MeasuredState(5.01, UR5.home, np.full(6, bad)), state(0))
    assert blind.predict(5.0, plan) is again
    with pytest.raises(ValueError, match=r"asked for 4\.9 s; the last joint state is of 5\.0 s"):
        blind.predict(4.9, plan)
    anew = seen(blind, 1.0)
    assert blind.predict(1.0, plan) is anew
    late, early = blind.predict(1.05, plan), blind.predict(1.01, plan)
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
    """Fresh weights are far off, but not right before and right after what was seen."""
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
    found = impute(model, Observations(torch.where(rows[..., None], true, torch.nan), time, rows))
    assert torch.equal(found[rows], true[rows])
    close = torch.from_numpy(np.abs(stamps[:, None] - stamps[rows[0]]).min(1) < 2e-5)
    torch.testing.assert_close(found[0, close], true[0, close], rtol=0, atol=5e-3)
    assert found.isfinite().all()


# the loop of joint states that come now and then


class Clock:
    """An engaged driver and its loop; time passes by hand."""

    def __init__(self, unseen: float = 0.1) -> None:
        self.driver = ArmController(UR5, urdf_model(UR5, "N m"), "N m", 0.0)
        self.driver.engage(True)
        self.loop = DropoutController(
            self.driver, LearnedStatePredictor(bridge(), UR5, StatePredictorConfig(unseen))
        )

    def come(self, stamp: float, clock: float) -> bool:
        """Whether a joint state is answered with an action."""
        wanted = self.driver.plan.at(stamp) if self.driver.plan else state(0)
        command = self.loop.on_joint_state(MeasuredState(stamp, wanted.q, wanted.qd), clock)
        return command is not None and command.action is not None


def test_samples_that_are_overdue_are_answered_one_by_one_until_they_are_too_old() -> None:
    arm = Clock(unseen=0.05)
    assert arm.come(7.0, 100.0)
    times, silent = [], 0
    for clock in np.arange(100.0, 100.15, 0.002):
        answer = arm.loop.predict_missing(float(clock))
        if answer is not None and answer.command.action is not None:
            times.append(answer.time)
        elif answer is not None:
            silent += 1
            assert answer.command.reason == JOINT_STATES_MISSING
    np.testing.assert_allclose(times, 7.0 + STEP * np.arange(1, 7))
    assert silent > 0 and arm.loop.predicted_count == 6
    arm.driver.set_target(Target(7.1, State(UR5.home + 0.1, np.zeros(6), np.zeros(6)), 0.0))
    newer = arm.loop.recompute(100.15)
    assert newer is not None and newer.command.action is None, "targets alone keep nothing going"
    assert arm.come(7.16, 100.16)  # it goes on from what is seen


def test_what_comes_late_is_seen_but_no_command_goes_back_in_time() -> None:
    arm = Clock()
    arm.come(7.0, 100.0)
    arm.driver.set_target(Target(7.0, State(UR5.home + 0.1, np.zeros(6), np.zeros(6)), 0.0))
    ahead = arm.loop.predict_missing(100.021)
    assert ahead is not None and ahead.time == pytest.approx(7.016)
    assert not arm.come(7.012, 100.022)
    assert arm.loop.predict_missing(100.023) is None
    again = arm.loop.recompute(100.023)
    assert again is not None and again.time == ahead.time
    assert arm.driver.plan is not None and arm.driver.plan.hold_reason is None, (
        "time never went back"
    )
    assert arm.come(7.024, 100.024)


def test_nothing_is_answered_before_a_joint_state_and_while_not_engaged() -> None:
    arm = Clock()
    assert arm.loop.predict_missing(1e3) is None and arm.loop.recompute(1e3) is None
    arm.come(7.0, 100.0)
    arm.driver.stop()
    assert arm.loop.predict_missing(100.02) is None
    arm.driver.engage(True)
    answer = arm.loop.predict_missing(100.021)
    assert answer is not None and answer.command.action is None  # from where would it start?
    assert arm.come(0.5, 101.0), "time may start again"
