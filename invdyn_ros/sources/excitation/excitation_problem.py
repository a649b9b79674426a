"""Optimisation of the coefficients of an excitation; see `design`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from invdyn_ros.control.joint_motion import JointMotion, SampledMotion
from invdyn_ros.robots.payload import carrying_joint
from invdyn_ros.sources.excitation.motion_check import MIN_SINGULAR_JOINTS, MotionCheck
from invdyn_ros.sources.excitation.motion_parts import (
    MotionBasis,
    motion_basis,
    part_speed,
    position_scale,
)
from invdyn_ros.sources.excitation.optimal import FisherInformation
from invdyn_ros.typing import Array

SAMPLES = 60  # of each part, for information and penalties
ITERATIONS, LEARNING_RATE = 150, 0.05
PENALTY = 30.0  # of the mean squared relative excess, summed over all limits, at first
PENALTY_GROWTH = 100.0  # until the last iteration
MAX_EXCESS = 4.0  # that counts, times a limit
TARGET_FRACTION = 0.97  # of the limits, that the optimisation aims at
START_FRACTION = 0.3  # of the limits, of the random motion at first
REGULARIZATION = 1e-6  # of the information matrix
SHRINKING, MAX_SHRINKINGS = 0.95, 60  # factor of a part that exceeds a limit, and how often


class ExcitationProblem:
    """Optimisation of the coefficients (parts, n, 2 k) of an excitation."""

    def __init__(self, check: MotionCheck, postures: Array, seconds: float) -> None:
        """Prepare the optimisation.

        Args:
            check: limits and clearance.
            postures: (parts + 1, n) at the ends of the parts [rad].
            seconds: duration of a part [s].
        """
        self.check, self.postures, self.seconds = check, torch.from_numpy(postures), seconds
        self.information = FisherInformation(check.robot)
        self.basis_matrix = torch.from_numpy(self.information.basis)
        self.samples = motion_basis(seconds, SAMPLES)
        speeds = [part_speed(number) for number in range(len(postures) - 1)]
        self.speed = torch.tensor(speeds, dtype=torch.float64)[:, None, None]
        self.scale = self._scale()
        robot = check.robot
        _, T = carrying_joint(robot.rigid_body_urdf(), robot.joint_names, robot.tip_link)
        self.tool = torch.from_numpy(T[:, 3])  # in the frame of the last link

    def _scale(self) -> Tensor:
        """Return the size (n, 2 k) of a coefficient that alone reaches a limit."""
        limits, series = self.check.limits, self.samples.series.abs().amax(1)  # (3, 2 k)
        half = (limits.upper - limits.lower) / 2
        rows = [half, limits.velocity, limits.acceleration]
        ratios = [torch.from_numpy(x)[:, None] / s for x, s in zip(rows, series, strict=True)]
        return torch.stack(ratios).amin(0)

    def motion(self, x: Tensor, basis: MotionBasis) -> tuple[Tensor, ...]:
        """Return q, qd and qdd, (parts, T, n) each, of relative coefficients (parts, n, 2 k)."""
        a, b = self.postures[:-1, None], self.postures[1:, None]
        coefficients = (self.scale * x).mT  # (parts, 2 k, n)
        q, qd, qdd = (
            way[:, None] * (b - a) + series @ coefficients
            for way, series in zip(basis.way, basis.series, strict=True)
        )
        return a + q, qd, qdd

    def random_coefficients(self, random: np.random.Generator) -> Tensor:
        """Return random relative coefficients that use a part of each limit."""
        size = (len(self.postures) - 1, *self.scale.shape)
        x = torch.from_numpy(random.standard_normal(size))
        still = self.motion(torch.zeros_like(x), self.samples)
        moved = self.motion(x, self.samples)
        limits = self.check.limits
        rows = [(limits.upper - limits.lower) / 2, limits.velocity, limits.acceleration]
        largest = torch.stack(
            [
                (m - s).abs().amax(1) / torch.from_numpy(limit)
                for m, s, limit in zip(moved, still, rows, strict=True)
            ]
        ).amax(0)
        return START_FRACTION * self.speed * x / largest[..., None]

    def optimise(self, start: Tensor, on_step: Callable[[float], None]) -> Tensor:
        """Return coefficients with more information, near the limits."""
        x = start.clone().requires_grad_(True)
        optimizer = torch.optim.Adam([x], lr=LEARNING_RATE)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, ITERATIONS, 1e-3)
        for iteration in range(ITERATIONS):
            optimizer.zero_grad()
            parts = self.motion(x, self.samples)
            flat = [part.flatten(0, 1) for part in parts]
            growth = PENALTY_GROWTH ** (iteration / ITERATIONS)
            loss = growth * self.penalty(parts) - self.log_det(*flat)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            on_step((iteration + 1) / ITERATIONS)
        return x.detach()

    def log_det(self, q: Tensor, qd: Tensor, qdd: Tensor) -> Tensor:
        """Return the log-determinant of the information of a motion, per base parameter.

        Args:
            q: (T, n) [rad].
            qd: (T, n) [rad/s].
            qdd: (T, n) [rad/s2].
        """
        A = self.information.weighted_columns(q, qd, qdd) @ self.basis_matrix
        H = A.mT @ A / len(q)
        H = H + REGULARIZATION * torch.eye(len(H), dtype=H.dtype)
        return torch.logdet(H) / len(H)

    def penalty(self, parts: Sequence[Tensor]) -> Tensor:
        """Return the penalty of all excesses of q, qd and qdd, (parts, T, n) each."""
        limits, speed = self.check.limits, self.speed
        q, qd, qdd = parts
        lower, upper = map(torch.from_numpy, (limits.lower, limits.upper))
        middle, half = (lower + upper) / 2, (upper - lower) / 2
        flat = [part.flatten(0, 1) for part in parts]
        torque = self.check.tree.torque(*flat)
        ratios = [
            ((q - middle) / half).flatten(0, 1),
            (qd / speed / torch.from_numpy(limits.velocity)).flatten(0, 1),
            (qdd / speed / torch.from_numpy(limits.acceleration)).flatten(0, 1),
            torque / torch.from_numpy(limits.effort),
            self._speeds(flat[0], (qd / speed).flatten(0, 1)) / limits.tool_speed,
            *self._conditions(flat[0]),
        ]
        excess = [
            (r.abs().clamp_max(MAX_EXCESS) - TARGET_FRACTION).clamp_min(0).square().sum(-1)
            for r in ratios
        ]
        return PENALTY * (torch.stack(excess).sum(0).mean() + self._nearness(flat[0]))

    def _speeds(self, q: Tensor, qd: Tensor) -> Tensor:
        """Return the speeds (T, n + 1) of the origins of all links and of the tool [m/s]."""
        tree = self.check.tree
        T, S, _ = tree.link_motion(q, qd, torch.zeros_like(qd))
        V = (tree.ancestors @ (S * qd[..., None, None]).flatten(-2)).unflatten(-1, (4, 4))
        origins = (V @ T)[..., :3, 3]  # (T, n, 3)
        tool = (V[:, -1] @ T[:, -1] @ self.tool)[..., :3]
        squares = torch.cat([origins, tool[:, None]], 1).square().sum(-1)
        return (squares + 1e-12).sqrt()

    def _conditions(self, q: Tensor) -> list[Tensor]:
        """Return the condition numbers (T, 1) of the tool's Jacobian, relative to the limit."""
        tree, robot = self.check.tree, self.check.robot
        if robot.n < MIN_SINGULAR_JOINTS:
            return []
        T, S, _ = tree.link_motion(q, torch.zeros_like(q), torch.zeros_like(q))
        point = T[:, -1] @ self.tool  # (T, 4)
        linear = (S @ point[:, None, :, None])[..., :3, 0] / self.check.reach
        angular = torch.stack([S[..., 2, 1], S[..., 0, 2], S[..., 1, 0]], -1)
        values = torch.linalg.svdvals(torch.cat([linear, angular], -1))  # (T, 6)
        return [values[:, :1] / values[:, -1:].clamp_min(1e-3) / self.check.limits.condition]

    def _nearness(self, q: Tensor) -> Tensor:
        """Return the mean squared lack of clearance of positions (T, n), with its gradient."""
        collision, value = self.check.collision, 0.0
        gradient, unit = np.zeros(q.shape), self.check.collision.range
        for row, point in zip(gradient, q.detach().numpy(), strict=True):
            pairs, clearances, slopes = collision.gradients(point)
            aim = self.check.spare[pairs] + (1 - TARGET_FRACTION) * unit
            lack = np.minimum((clearances - aim) / unit, 0.0)
            value += float(lack @ lack)
            row += 2 / unit * lack @ slopes
        surrogate = (torch.from_numpy(gradient) * (q - q.detach())).sum()
        return (surrogate + value) / len(q)

    def feasible_part(self, index: int, x: Tensor) -> SampledMotion:
        """Return a part at the control rate, within all limits.

        Args:
            index: of the part.
            x: (n, 2 k) relative coefficients, scaled down as far as needed.
        """
        rate = self.check.robot.rate
        basis = motion_basis(self.seconds, round(self.seconds * rate) + 1)
        every = torch.zeros(len(self.postures) - 1, *x.shape, dtype=x.dtype)
        way = self.motion(every, basis)[0][index]
        every[index] = x
        x = position_scale(way, self.motion(every, basis)[0][index], self.check)[:, None] * x
        scale = 1.0
        for attempt in range(MAX_SHRINKINGS):
            every[index] = scale * x if attempt < MAX_SHRINKINGS - 1 else 0.0 * x
            samples = SampledMotion(*(part[index].numpy() for part in self.motion(every, basis)))
            if self.check.is_within(samples, 1 / rate, part_speed(index)):
                return samples
            scale *= SHRINKING
        raise ValueError(
            f"{self.check.robot.name} cannot move from one posture to the next within its limits; "
            "give a longer duration or a smaller payload"
        )

    def information_of(self, motion: JointMotion) -> float:
        """Return the log-determinant of the information of a motion, per base parameter."""
        parts = (torch.from_numpy(x[::4].copy()) for x in (motion.q, motion.qd, motion.qdd))
        return float(self.log_det(*parts))
