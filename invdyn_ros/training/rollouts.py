"""Short closed-loop rollouts of a model, all at once, on the rigid body of its data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from invdyn_ros.data.trajectory import Trajectory
from invdyn_ros.models.gear_friction import gear_friction_rise
from invdyn_ros.models.inverse_dynamics import InverseDynamics
from invdyn_ros.models.rigid_body import RigidBody
from invdyn_ros.robots.feedback import (
    FEEDBACK,
    MAX_VELOCITY_TO_PLAN,
    FeedbackConfig,
    FeedbackSpace,
    nominal_rotor_inertia,
)
from invdyn_ros.robots.quintic import PEAK_ACCELERATION, PEAK_VELOCITY, quintic
from invdyn_ros.robots.urdf import UrdfTree
from invdyn_ros.training.reference_body import (
    COULOMB,
    OFFSET,
    VISCOUS,
    inertia_and_bias,
    is_servo,
)

SECONDS = 1.2  # of a rollout
COUNT = 6  # rollouts along recorded motions, and as many from one posture to another
MAX_STEP = 0.004  # [s] of the integration
INERTIA_STEP = 0.008  # [s] for which inertia and gravity are held
MAX_ERROR = 1.0  # [rad] at which a tracking error counts; more is as bad
MOVING_FRACTION = 0.8  # of a rollout from one posture to another; then it stands
ACTION_MARGIN = 1.5  # largest action, as a multiple of the data's


class DesiredMotions(NamedTuple):
    """K desired motions, each a position, velocity and acceleration per sample."""

    q: Tensor  # (K, T, n)
    qd: Tensor  # (K, T, n)
    qdd: Tensor  # (K, T, n)


class Rollouts:
    """Rollouts of models of one dataset.

    The simulated arm is the reference body with the action delay of its data; the controller is
    that of the live node.
    """

    def __init__(self, body: RigidBody, desired: DesiredMotions, max_target: Tensor) -> None:
        """Prepare rollouts.

        Args:
            body: the reference body.
            desired: motions to follow, at the rate of the data.
            max_target: (n,) largest target of the data.
        """
        self.body, self.desired, self.max_target = body, desired, ACTION_MARGIN * max_target
        self.feedback = FEEDBACK["rad" if is_servo(body) else "N m"]
        self.period = 1 / body.meta.rate
        self.substeps = math.ceil(self.period / MAX_STEP - 1e-9)
        tree, names = body.urdf_tree(), body.meta.joint_names
        joints = UrdfTree(body.meta.urdf).joints
        effort = np.array([joints[name].limit.get("effort", 0.0) for name in names])
        self._rotor = torch.from_numpy(nominal_rotor_inertia(effort))
        self._nominal_tree = tree

    @torch.inference_mode()
    def rms(self, model: InverseDynamics | None, space: FeedbackSpace = "acceleration") -> float:
        """Return the RMS tracking error [rad] of a model.

        Args:
            model: model of the same data; None: desired positions as setpoints, or no torque.
            space: where the feedback is added: to the acceleration before the model, or through a
                nominal inertia to its torque.
        """
        controller = _Controller(self, model, space)
        q, qd = self.desired.q[:, 0].clone(), self.desired.qd[:, 0].clone()
        step = self.period / self.substeps
        # a held action acts half a period later on average
        delay = max(0, round((self.body.meta.action_delay - self.period / 2) / step))
        actions: list[Tensor] = [controller.rest_action(q)] * delay
        held = max(1, round(INERTIA_STEP / self.period))
        errors = []
        for k in range(self.desired.q.shape[1] - 1):
            errors.append(self.desired.q[:, k] - q)
            action = self._limit(controller(k, q, qd), q)
            if k % held == 0:
                M, bias = inertia_and_bias(self.body, q, qd)
            for _ in range(self.substeps):
                actions.append(action)
                q, qd = self._integrate(q, qd, actions.pop(0), bias, M, step)
        error = torch.stack(errors).nan_to_num(MAX_ERROR).clamp(-MAX_ERROR, MAX_ERROR)
        return float(error.square().mean().sqrt())

    def _limit(self, action: Tensor, q: Tensor) -> Tensor:
        """Limit the target of an action (K, n)."""
        offset = q if is_servo(self.body) else torch.zeros_like(q)
        target = (action - offset).nan_to_num(0.0)
        return offset + torch.minimum(torch.maximum(target, -self.max_target), self.max_target)

    def _integrate(
        self, q: Tensor, qd: Tensor, action: Tensor, bias: Tensor, M: Tensor, step: float
    ) -> tuple[Tensor, Tensor]:
        """Advance by one step; friction and springs are implicit, for stability.

        Args:
            q: (K, n) positions [rad].
            qd: (K, n) velocities [rad/s].
            action: (K, n).
            bias: (K, n) gravity and velocity terms.
            M: (K, n, n) inertia.
            step: [s].
        """
        body = self.body
        friction, v = body.friction, body.config.coulomb_velocity
        direction, dry = torch.tanh(qd / v), friction[:, COULOMB]
        if body.meta.gear_friction:
            dry = dry + gear_friction_rise(q.new_tensor(body.meta.gear_friction), qd, bias)
        resistance = friction[:, VISCOUS] * qd + dry * direction
        slope = friction[:, VISCOUS] + dry / v * (1 - direction.square())
        load = action - bias - resistance - friction[:, OFFSET]
        if is_servo(body):  # the target is the stretch of a spring of unit stiffness
            load, slope = load - q - step * qd, slope + step
        change = torch.linalg.solve(M + step * torch.diag_embed(slope), step * load)
        limit = 10 * self.desired.qd.abs().amax() + 1.0  # [rad/s]; an unstable arm stays finite
        qd = (qd + change).nan_to_num(0.0).clamp(-limit, limit)
        return q + step * qd, qd

    def nominal_force(self, q: Tensor, qdd: Tensor) -> Tensor:
        """Return the torque (K, n) of accelerations (K, n) with the inertia of the URDF."""
        zero, tree = torch.zeros_like(q), self._nominal_tree
        return tree.torque(q, zero, qdd) - tree.torque(q, zero, zero) + self._rotor * qdd

    def nominal_inertia(self, q: Tensor) -> Tensor:
        """Return the inertia (N, n, n) that feedback in torque space goes through."""
        unit = torch.eye(q.shape[-1]).to(q)
        columns = [self.nominal_force(q, row.expand_as(q)) for row in unit]
        return torch.stack(columns, dim=-1)


class _Controller:
    """The control law of the live node for K arms at once."""

    def __init__(
        self, rollouts: Rollouts, model: InverseDynamics | None, space: FeedbackSpace
    ) -> None:
        self.rollouts, self.model, self.space = rollouts, model, space
        self.config: FeedbackConfig = rollouts.feedback
        self.integral = torch.zeros_like(rollouts.desired.q[:, 0])
        self.frames: list[Tensor] = []
        # samples by which the plan is ahead of the action, and the rest of the delay
        self.lead = rollouts.body.meta.action_delay / rollouts.period

    def __call__(self, k: int, q: Tensor, qd: Tensor) -> Tensor:
        """Return the actions (K, n) for measured states (K, n) at sample k."""
        config, desired = self.config, self.rollouts.desired
        error, velocity_error = desired.q[:, k] - q, desired.qd[:, k] - qd
        limit = config.integral_limit
        self.integral = (self.integral + self.rollouts.period * error).clamp(-limit, limit)
        feedback = (
            config.stiffness * error
            + config.damping * velocity_error
            + config.integral * self.integral
        )
        planned_q, planned_qd, planned_qdd = self._planned(k)
        to_plan = config.convergence_rate * error
        planned_qd = planned_qd + to_plan.clamp(-MAX_VELOCITY_TO_PLAN, MAX_VELOCITY_TO_PLAN)
        if self.space == "torque":
            action = self._predict([planned_q, planned_qd, planned_qdd])
            return action + self.rollouts.nominal_force(q, feedback)
        reference = planned_q - config.error_feedthrough * error
        return self._predict([reference, planned_qd, planned_qdd + feedback])

    def rest_action(self, q: Tensor) -> Tensor:
        """Return the actions (K, n) that hold the first state, before the first command."""
        action = self._predict([q, torch.zeros_like(q), torch.zeros_like(q)])
        self.frames.clear()
        return action

    def _planned(self, k: int) -> tuple[Tensor, ...]:
        """Return the desired states (K, n) at the time when an action takes effect."""
        last = self.rollouts.desired.q.shape[1] - 1
        position = min(max(k + self.lead, 0.0), float(last))
        low = min(int(position), last)
        high, weight = min(low + 1, last), position - low
        return tuple(torch.lerp(x[:, low], x[:, high], weight) for x in self.rollouts.desired)

    def _predict(self, parts: Sequence[Tensor]) -> Tensor:
        """Return the actions (K, n) for a new frame of motion."""
        if self.model is None:
            return parts[0] if is_servo(self.rollouts.body) else torch.zeros_like(parts[0])
        frame, steps = torch.cat(list(parts), dim=-1), self.model.n_obs_steps
        self.frames = [*(self.frames or [frame] * steps), frame][-steps:]
        motion = torch.stack(self.frames, dim=1)
        time = torch.arange(steps, dtype=torch.float64) * self.rollouts.period
        device = self.model.motion_mean.device
        stamps = time.expand(len(motion), steps)
        mean = self.model.predict(motion.to(device), stamps.to(device)).mean
        return mean[:, -1].double().cpu()


def desired_motions(
    trajectories: Sequence[Trajectory], rate: float, seed: int = 0
) -> DesiredMotions:
    """Return motions to follow: parts of recorded ones, and ways from one posture to another.

    Args:
        trajectories: recordings with velocities and accelerations.
        rate: of the samples [Hz].
        seed: of the choice.
    """
    random = np.random.default_rng(seed)
    samples = max(3, round(SECONDS * rate))
    columns = [
        np.concatenate([getattr(t, name) for t in trajectories])
        for name in ("position", "velocity", "acceleration")
    ]
    motions = [_between_postures(columns, samples, rate, random) for _ in range(COUNT)]
    long = [t for t in trajectories if t.time[-1] - t.time[0] > samples / rate]
    for k in range(COUNT if long else 0):
        trajectory = long[k % len(long)]
        end = trajectory.time[-1] - samples / rate
        time = random.uniform(trajectory.time[0], end) + np.arange(samples) / rate
        parts = (trajectory.position, trajectory.velocity, trajectory.acceleration)
        motions.append(
            [
                np.stack([np.interp(time, trajectory.time, x) for x in part.T], axis=1)
                for part in parts
            ]
        )
    stacked = (np.stack([motion[i] for motion in motions]) for i in range(3))
    return DesiredMotions(*map(torch.from_numpy, stacked))


def _between_postures(
    columns: Sequence[np.ndarray], samples: int, rate: float, random: np.random.Generator
) -> list[np.ndarray]:
    """Return a quintic motion (T, n) between recorded postures, as fast as the data at most."""
    q, qd, qdd = columns
    start, end = q[random.integers(len(q), size=2)]
    duration = MOVING_FRACTION * samples / rate
    limits = np.minimum(
        np.abs(qd).max(0) * duration / PEAK_VELOCITY,
        np.abs(qdd).max(0) * duration**2 / PEAK_ACCELERATION,
    )
    way = end - start
    way = way * min(1.0, float(np.min(limits / np.maximum(np.abs(way), 1e-9))))
    x = np.minimum(np.arange(samples) / rate / duration, 1.0)[:, None]
    q, qd, qdd = (way * part for part in quintic(x, duration))
    return [start + q, qd, qdd]
