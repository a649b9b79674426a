"""Closed-loop simulation of an arm that tracks a desired motion with an inverse dynamics model."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from invdyn_ros.arms.pybullet_simulation import Simulation
from invdyn_ros.control.computed_torque import ComputedTorqueController, MeasuredState
from invdyn_ros.control.controller import ArmController
from invdyn_ros.control.drift_monitor import DriftMonitor
from invdyn_ros.control.fallback import Fallback
from invdyn_ros.control.faults import ANY_ERROR
from invdyn_ros.control.motion_profile import Plan, State, Target
from invdyn_ros.control.safety_limits import SafetyLimitsConfig
from invdyn_ros.control.state_predictor import StatePredictor
from invdyn_ros.data.recording import JointSamples
from invdyn_ros.models.predictor import Predictor
from invdyn_ros.robots.feedback import FeedbackConfig
from invdyn_ros.robots.obstacles import FREE_SPACE
from invdyn_ros.robots.plant import PlantConfig
from invdyn_ros.robots.registry import load_plant
from invdyn_ros.robots.robot import Robot
from invdyn_ros.sources.excitation.fourier_series import (
    ExcitationConfig,
    FreeExcitations,
    posture_limits,
)
from invdyn_ros.sources.excitation.posture_sequence import PostureSequence, SmoothMotion
from invdyn_ros.typing import Array, Mask

VERBATIM = SafetyLimitsConfig(slow_in_time=0.0)  # the motion is followed as it was recorded


class ZeroOrderHold:
    """State predictor that returns the last measured state, as a node without a predictor."""

    def update(self, measured: MeasuredState, desired: State | None) -> None:
        """Store a joint state."""
        self.measured = measured

    def predict(self, time: float, plan: Plan | None) -> MeasuredState | None:
        """Return the last joint state, with its own stamp."""
        return self.measured


class LossyChannel(NamedTuple):
    """Dropout of joint states between the arm and its controller.

    Attributes:
        arrived: (T,) whether each sample arrives; the first one must.
        predictor: predicts the samples that do not arrive.
    """

    arrived: Mask
    predictor: StatePredictor


class ClosedLoopRun(NamedTuple):
    """Motion of a simulated arm in closed loop.

    Attributes:
        time: (T,) [s].
        desired: (T, n) joint positions [rad].
        measured: (T, n) joint positions [rad].
        action: (T, n) actions sent, in the unit of the arm.
        used_fallback: (T,) whether the fallback computed the action, in part or whole.
    """

    time: Array
    desired: Array
    measured: Array
    action: Array
    used_fallback: Mask

    @property
    def error(self) -> Array:
        """Tracking error (T, n) [rad]."""
        return self.measured - self.desired

    @property
    def rms(self) -> float:
        """RMS tracking error over time and joints [rad]."""
        return float(np.sqrt(np.mean(np.square(self.error))))


def replay(
    robot: Robot,
    model: Predictor,
    unit: str,
    action_delay: float,
    desired: JointSamples,
    plant: PlantConfig | None = None,
    seed: int = 0,
    controller: ComputedTorqueController | None = None,
    fallback: Fallback | None = None,
    channel: LossyChannel | None = None,
    feedback: FeedbackConfig | None = None,
    drift: DriftMonitor | None = None,
) -> ClosedLoopRun:
    """Drive the simulated arm along a desired motion with a model, as the live node does.

    The arm is in free space, where data are collected too.

    Args:
        robot: the arm.
        model: computes the actions.
        unit: unit of the actions.
        action_delay: time from an action to the motion that it causes [s].
        desired: states that the safety limits let through, at the rate of the arm.
        plant: simulated arm; default: the one of `robot`.
        seed: seed of the noise of the plant.
        controller: combines plan, feedback and model; default: as in the live node.
        fallback: used by the default controller outside the training data of the model.
        channel: dropout of the joint states; default: none.
        feedback: of the default controller; default: that of the unit.
        drift: compares the arm with its model.

    Raises:
        ValueError: the motion is too short, the channel is shorter than the motion, or the safety
            limits stopped the arm.
    """
    time, states = _resample(desired, robot.rate)
    # The motion satisfies the limits already; rounding errors at a limit must not stop the arm.
    wide_limits = replace(
        robot, velocity=1.5 * robot.velocity, acceleration=4 * robot.acceleration
    )
    arm_controller = ArmController(
        wide_limits, model, unit, action_delay, VERBATIM, feedback,
        fallback=fallback, monitor=ANY_ERROR, is_guarded=False,
    )  # fmt: skip
    if controller is not None:
        arm_controller.actions.tracking_controller = controller
    arm_controller.actions.drift = drift
    arm_controller.engage(True)
    channel = _checked(channel, len(states) - 1)
    plant = plant or load_plant(robot.name)
    with Simulation(robot, plant, unit, seed=seed, obstacles=FREE_SPACE) as simulation:
        simulation.reset(seed, states[0].q)
        arm = _SimulatedArm(simulation, arm_controller, channel)
        steps = [arm.step(s, bool(a)) for s, a in zip(states[1:], channel.arrived, strict=False)]
    measured, action, used_fallback = (np.stack(part) for part in zip(*steps, strict=True))
    desired_q = np.stack([state.q for state in states[:-1]])
    return ClosedLoopRun(time, desired_q, measured, action, used_fallback)


def _checked(channel: LossyChannel | None, count: int) -> LossyChannel:
    """Return a channel for a number of samples; without one, that in which all of them arrive."""
    channel = channel or LossyChannel(np.ones(count, bool), ZeroOrderHold())
    if len(channel.arrived) < count or not channel.arrived[0]:
        raise ValueError(
            f"the channel has {len(channel.arrived)} samples for {count} of the motion; it must "
            "have as many, and the first must arrive"
        )
    return channel


def excitation_motion(robot: Robot, seed: int | tuple[int, ...], seconds: float) -> JointSamples:
    """Return an excitation of an arm as a desired motion, at the rate of the arm.

    Args:
        robot: the arm.
        seed: random seed.
        seconds: duration [s].
    """
    random = np.random.default_rng(seed)
    config = ExcitationConfig(episode_seconds=seconds)
    return _sampled(FreeExcitations(robot).draw(config, random, speed_scale=1.0), robot)


def point_to_point_motion(
    robot: Robot, seed: int | tuple[int, ...], seconds: float
) -> JointSamples:
    """Return quintic motions from one random posture to the next, with a rest at each.

    Range, velocity and acceleration are those of an excitation.

    Args:
        robot: the arm.
        seed: random seed.
        seconds: duration [s].
    """
    limits = posture_limits(robot, ExcitationConfig())
    return _sampled(PostureSequence(limits, seconds, np.random.default_rng(seed)), robot)


def _sampled(motion: SmoothMotion, robot: Robot) -> JointSamples:
    """Return a motion at the rate of an arm."""
    time = np.arange(round(motion.duration * robot.rate)) / robot.rate
    q, qd, _ = motion.motion(time)
    return JointSamples(time, q, qd, np.empty((len(time), 0)), np.full(len(time), np.nan))


def _resample(desired: JointSamples, rate: float) -> tuple[Array, list[State]]:
    """Resample a motion at a rate [Hz]: times (T,) from 0 [s], and T + 1 states."""
    if len(desired.time) < 3:
        raise ValueError(f"a replay needs 3 desired states or more, got {len(desired.time)}")
    time = np.arange(desired.time[0], desired.time[-1], 1 / rate)
    q, qd = (
        np.stack([np.interp(time, desired.time, c) for c in part.T], axis=1)
        for part in (desired.q, desired.qd)
    )
    qdd = np.gradient(qd, 1 / rate, axis=0)
    return time[:-1] - time[0], [State(*state) for state in zip(q, qd, qdd, strict=True)]


class _SimulatedArm:
    """A simulated arm whose controller receives joint states through a lossy channel."""

    def __init__(
        self, simulation: Simulation, controller: ArmController, channel: LossyChannel
    ) -> None:
        self.simulation, self.controller = simulation, controller
        self.predictor = channel.predictor
        self._command: Array = np.zeros(controller.robot.n)

    def step(self, desired: State, arrived: bool) -> tuple[Array, Array, bool]:
        """Track a state for one sample.

        Args:
            desired: state at the next sample.
            arrived: whether the controller receives the joint state of this sample.

        Returns:
            Measured position (n,) [rad], action (n,), and whether the fallback was used.
        """
        sample, controller = self.simulation.state(), self.controller
        controller.set_target(Target(sample.time, desired, 1 / controller.robot.rate))
        measured = MeasuredState(sample.time, sample.q, sample.qd)
        command, action = None, None
        if arrived:
            command = controller.update(measured)
        elif (state := self.predictor.predict(sample.time, controller.plan)) is not None:
            command = controller.follow(state)
        if command is not None:
            if command.action is None:
                raise ValueError(f"the safety limits stopped the replay: {command.reason}")
            self._command = action = command.action
            if arrived:
                self.predictor.update(measured, command.desired)
        self.simulation.step(action)
        return sample.q, self._command, controller.actions.tracking_controller.using_fallback
