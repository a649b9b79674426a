"""Bridges from one observation to the next: a record enters, the states between them leave."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveInt
from torch import Tensor, nn

from invdyn_ros.config import Probability, Validated
from invdyn_ros.models.timeseries.observations import (
    Motions,
    Observations,
    insert_intermediate_times,
    surrounding_observations,
)
from invdyn_ros.models.timeseries.time_series_model import TimeSeriesMetadata, TimeSeriesModel

FORWARD, BACKWARD = 1, -1  # the way in time that a stepper goes
INPUT_LIMIT = 10.0  # standardised inputs are cut there
STATE_LOSS_WEIGHT = 1e3  # the loss of scaled errors, so that it is of the order of one
SMOOTH_L1_BETA = 0.1  # standardised errors below which the second loss is quadratic
STD_SAMPLES = 20_000  # states that tell a spread
STEP_TOLERANCE = 1e-3  # of numbers of steps


@dataclass(frozen=True)
class BridgeConfig(Validated):
    """Shape of the two networks, and what they are shown."""

    width: PositiveInt = 384
    """Units of each hidden layer."""
    depth: PositiveInt = 3
    """Hidden layers."""
    num_prismatic: NonNegativeInt = 0
    """Leading coordinates that are lengths, no angles."""
    invariant_joints: tuple[str, ...] = ()
    """Joints on whose position nothing depends, such as how far a body has come."""
    samples_per_motion: PositiveInt = 32
    """Places of each motion that a pass trains at."""
    mean_gap: NonNegativeFloat = 8.0
    """Mean number of steps from there to the next observation."""
    extrapolation_fraction: Probability = 0.4
    """Share of places with no observation ahead."""
    velocity_l1_weight: NonNegativeFloat = 0.05
    """Weight of the absolute error of velocities, beside the squared one of scaled states."""


class NextObservation(NamedTuple):
    """The observation that a stepper goes to."""

    state: Tensor  # (N, 2n)
    steps: Tensor  # (N, 1) from here, infinite: there is none


class StepNetwork(nn.Module):
    """Goes from one moment to the next, knowing which observation it must arrive at.

    Simulators and robots move by q' = q + h (a v + (1 - a) v'), with `a` read off the data (0 in a
    semi-implicit Euler step). So what is seen at both ends of a gap fixes the mean of all
    velocities within, and of a gap of two steps the only one. The parabola through both end
    velocities that has this mean is where a stepper goes at first; a network learns how it goes
    instead.
    """

    velocity_change_std: Tensor  # (n,) of the change of velocity in a step of the usual length
    velocity_std: Tensor  # (n,) of velocities
    position_dependent: Tensor  # (n,) bool
    old_velocity_weight: Tensor  # () what the velocity before a step counts in it

    def __init__(
        self,
        n: int,
        config: BridgeConfig,
        position_dependent: Tensor,
        direction: int,
        sample_period: float,
    ) -> None:
        """Build a network with fresh weights.

        Args:
            n: joints.
            config: its shape.
            moving: (n,) bool, joints on whose position something depends.
            way: FORWARD or BACKWARD.
            usual: how long a step is between regular samples [s].
        """
        super().__init__()
        self.direction, self.num_prismatic, self.sample_period = (
            direction,
            config.num_prismatic,
            sample_period,
        )
        angles = n - self.num_prismatic
        # sums of angles along the chain are where its links point; learning may change them
        self.link_angles = nn.Linear(angles, angles, bias=False)
        with torch.no_grad():
            self.link_angles.weight.copy_(torch.tril(torch.ones(angles, angles)))
        self.register_buffer("position_dependent", position_dependent, persistent=False)
        inputs = (
            int(position_dependent.sum())
            + n
            + 4 * angles
            + 3 * n
            + 2 * angles
            + self.num_prismatic
            + 3
        )
        layers: list[nn.Module] = []
        for _ in range(config.depth):
            layers += [nn.Linear(inputs, config.width), nn.SiLU()]
            inputs = config.width
        last = nn.Linear(inputs, 2 * n)
        for values in last.parameters():
            nn.init.zeros_(values)  # what is not learned yet is the parabola
        self.network = nn.Sequential(*layers, last)
        for name, value in (("velocity_change_std", 1.0), ("velocity_std", 1.0)):
            self.register_buffer(name, torch.full((n,), value))
        self.register_buffer("old_velocity_weight", torch.zeros(()))

    @property
    def start_velocity_weight(self) -> Tensor:
        """What the velocity that a step starts from counts in it."""
        return (
            self.old_velocity_weight if self.direction == FORWARD else 1 - self.old_velocity_weight
        )

    def forward(
        self, q: Tensor, v: Tensor, h: Tensor, goal: NextObservation
    ) -> tuple[Tensor, Tensor]:
        """Return where a step of h (N, 1) [s] leads, q and v (N, n)."""
        known, (there, then) = goal.steps.isfinite(), goal.state.chunk(2, 1)
        left = torch.where(known, goal.steps, 2.0).clamp(min=1.0)
        steps = left.clamp(min=2.0)
        moved = self.direction * (there - q) / h
        mean = (
            moved - self.start_velocity_weight * v - (1 - self.start_velocity_weight) * then
        ) / (steps - 1)
        aim = parabola_change(v, then, mean, steps)
        # less than two such steps are left where rows are irregular: no whole one to average over
        aim = torch.where(
            left < 2 - STEP_TOLERANCE, parabola_change_over_gap(v, then, moved / left, left), aim
        )
        changes = [x / self.velocity_change_std for x in ((mean - v) / 5, (then - v) / 5, aim)]
        told = torch.cat([*changes, self._pose_features(there), 1 / steps, steps.log()], 1)
        # a step's forces act where it starts in time, which backward is where it leads
        acted = q if self.direction == FORWARD else q - h * v
        inputs = torch.cat([self._motion_features(acted, v), known * told, (~known).to(q)], 1)
        bent, free = self.network(inputs.clamp(-INPUT_LIMIT, INPUT_LIMIT)).chunk(2, 1)
        spread = self.velocity_change_std * (h / self.sample_period)
        bent = aim + (1 - 2 / steps) * bent * spread
        after = v + torch.where(known, bent, free * spread)
        return q + self.direction * h * (
            self.start_velocity_weight * v + (1 - self.start_velocity_weight) * after
        ), after

    def _pose_features(self, q: Tensor) -> Tensor:
        turned = self.link_angles(q[:, self.num_prismatic :])
        places = q[:, : self.num_prismatic] * self.position_dependent[: self.num_prismatic]
        return torch.cat([places, turned.sin(), turned.cos()], 1)

    def _motion_features(self, q: Tensor, v: Tensor) -> Tensor:
        """Return how things are; with turns times sines, velocities of points are linear in it."""
        turned, turning = (
            self.link_angles(q[:, self.num_prismatic :]),
            self.link_angles(v[:, self.num_prismatic :]) / 10,
        )
        sine, cosine = turned.sin(), turned.cos()
        own = [q[:, self.position_dependent], v / self.velocity_std]
        return torch.cat([*own, sine, cosine, turning * sine, turning * cosine], 1)


def parabola_change(v: Tensor, end: Tensor, mean: Tensor, steps: Tensor) -> Tensor:
    """Return the first change of velocity (N, n) on a parabola.

    Args:
        v: velocity (N, n) now.
        end: that after `steps`.
        mean: that of the steps - 1 moments between.
        steps: (N, 1), at least 2.
    """
    bow = (mean - (v + end) / 2) * steps / (steps + 1)
    return (end - v) / steps + 6 * bow * (1 / steps) * (1 - 1 / steps)


def parabola_change_over_gap(v: Tensor, end: Tensor, mean: Tensor, steps: Tensor) -> Tensor:
    """Return what `towards` does for steps (N, 1) from 1 up, from the mean of all the time."""
    bow = mean - (v + end) / 2
    return (end - v) / steps + 6 * bow * (1 / steps) * (1 - 1 / steps)


class Bridge(TimeSeriesModel):
    """Walks to each time from the observation before and from the one after, and meets between.

    Before the first observation and after the last one walks alone.
    """

    Config = BridgeConfig
    config: BridgeConfig

    def __init__(self, meta: TimeSeriesMetadata) -> None:
        """Build both networks with fresh weights.

        Raises:
            ValueError: a joint `anywhere` that the machine does not have.
        """
        super().__init__(meta)
        for name in self.config.invariant_joints:
            if name not in meta.joint_names:
                raise ValueError(
                    f"invariant_joints: no joint '{name}'; {meta.robot} has {', '.join(meta.joint_names)}"
                )
        moving = torch.tensor(
            [name not in self.config.invariant_joints for name in meta.joint_names]
        )
        self.forward_net = StepNetwork(self.n, self.config, moving, FORWARD, self.sample_period)
        self.backward_net = StepNetwork(self.n, self.config, moving, BACKWARD, self.sample_period)

    @property
    def history_length(self) -> int:
        """Observations before a time that are worth telling it."""
        return 1

    def standardise(self, train: Motions) -> None:
        """Take scales, and how positions follow velocities, from the motions to learn from."""
        super().standardise(train)
        q, v = train.state.split(self.n, 2)
        h = train.time.diff(dim=1).to(q)[..., None]
        change = v.diff(dim=1)
        forward_net = (q.diff(dim=1) / h - v[:, 1:]).double()  # = -share * change
        share = -(forward_net * change).sum() / change.double().square().sum().clamp(min=1e-12)
        for stepper in (self.forward_net, self.backward_net):
            stepper.old_velocity_weight.copy_(share.clamp(0, 1))
            stepper.velocity_change_std.copy_(_column_std(change * (self.sample_period / h)))
            stepper.velocity_std.copy_(_column_std(v))

    def loss(self, state: Tensor, time: Tensor) -> Tensor:
        """Return the errors of steps from places drawn at random, both ways."""
        state, time = (
            x.repeat_interleave(self.config.samples_per_motion, 0) for x in (state, time)
        )
        count, length = time.shape
        drawn = torch.empty(count, device=time.device).exponential_(
            1 / max(self.config.mean_gap, 1e-6)
        )
        reach = (2 + drawn.floor().long()).clamp(max=length - 1)
        alone = torch.rand(count, device=time.device) < self.config.extrapolation_fraction
        start = (torch.rand(count, device=time.device) * (length - reach)).long()
        ends = [
            (start, start + reach, self.forward_net),
            (start + reach, start, self.backward_net),
        ]
        return sum(
            (
                self._step_loss(stepper, state, time, here, goal, alone)
                for here, goal, stepper in ends
            ),
            start=torch.zeros((), device=time.device),
        )

    def _step_loss(
        self,
        stepper: StepNetwork,
        state: Tensor,
        time: Tensor,
        here: Tensor,
        goal: Tensor,
        alone: Tensor,
    ) -> Tensor:
        """Return the loss of a step from row `here` towards row `goal` (N,)."""
        each = torch.arange(len(state), device=state.device)
        q, v = state[each, here].split(self.n, 1)
        end = state[each, goal]
        then = here + stepper.direction
        h, left = (
            (time[each, row] - time[each, here]).abs().to(q)[:, None] for row in (then, goal)
        )
        q, v = stepper(
            q, v, h, NextObservation(end, torch.where(alone[:, None], torch.inf, left / h))
        )
        missed = torch.cat([q, v], 1) - state[each, then]
        blunt = missed[:, self.n :] / stepper.velocity_change_std
        return STATE_LOSS_WEIGHT * (missed / self.scale).square().mean() + (
            self.config.velocity_l1_weight
            * nn.functional.smooth_l1_loss(blunt, torch.zeros_like(blunt), beta=SMOOTH_L1_BETA)
        )

    def forward(self, observations: Observations) -> Tensor:
        """Return states (B, T, 2n), of what both steppers say by how near they started."""
        fine, rows = insert_intermediate_times(observations, self.sample_period)
        before, after = surrounding_observations(fine.mask)
        ahead = self._rollout(self.forward_net, fine, after)
        backward_net = self._rollout(self.backward_net, fine, before)
        each = torch.arange(len(before))[:, None]
        length = before.shape[1]
        since = (fine.time - fine.time[each, before.clamp(min=0)]).abs()
        until = (fine.time[each, after.clamp(max=length - 1)] - fine.time).abs()
        trust = until / (since + until).clamp(min=1e-12)
        trust = torch.where(before < 0, 0.0, torch.where(after >= length, 1.0, trust))[..., None]
        both = trust * ahead + (1 - trust) * backward_net
        return both.to(observations.state)[each, rows]

    def _rollout(self, stepper: StepNetwork, observations: Observations, goals: Tensor) -> Tensor:
        """Return states (B, T, 2n) of walking through all rows one way; zero before the start.

        Args:
            stepper: one of the two.
            record: with rows close to each other.
            goals: (B, T) the seen row ahead of each, or a number outside.
        """
        state, time, seen = observations
        count, length = time.shape
        each = torch.arange(count)
        q, v = torch.zeros(2, count, self.n).to(state).unbind()
        found = torch.zeros_like(state)
        order = range(length) if stepper.direction == FORWARD else range(length - 1, -1, -1)
        for row in order:
            last = row - stepper.direction
            if 0 <= last < length:
                goal = goals[:, row]
                known = (goal >= 0) & (goal < length)
                goal = goal.clamp(0, length - 1)
                h = (time[:, row] - time[:, last]).abs()[:, None]
                left = (time[each, goal] - time[:, last]).abs()[:, None] / h
                steps = torch.where(known[:, None], left, torch.inf).to(q)
                end = state[each, goal]
                q, v = stepper(q, v, h.to(q), NextObservation(end, steps))
            q, v = (
                torch.where(seen[:, row, None], own, walked)
                for own, walked in zip(state[:, row].split(self.n, 1), (q, v), strict=True)
            )
            found[:, row] = torch.cat([q, v], 1)
        return found


def _column_std(values: Tensor) -> Tensor:
    """Return the deviation of each column (n,) of values (..., n)."""
    spread = values.flatten(0, -2)[
        :: max(values.numel() // values.shape[-1] // STD_SAMPLES, 1)
    ].std(0)
    return torch.where(spread > 1e-9, spread, torch.ones_like(spread))
