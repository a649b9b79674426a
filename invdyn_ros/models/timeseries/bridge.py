"""Bridges from one observation to the next: a record enters, the states between them leave."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, NamedTuple

import torch
from torch import Tensor, nn

from invdyn_ros.config import Checked, Count, NonNegative, Probability, at_least
from invdyn_ros.models.timeseries.observations import Motions, Observations, neighbours, refined
from invdyn_ros.models.timeseries.time_series_model import TimeSeriesMetadata, TimeSeriesModel

FORWARD, BACKWARD = 1, -1  # the way in time that a stepper goes
LIMIT = 10.0  # standardised inputs are cut there
BIG = 1e3  # the loss of scaled errors, so that it is of the order of one
SMALL = 0.1  # standardised errors below which the second loss is quadratic
COUNTED = 20_000  # states that tell a spread
ROUNDING = 1e-3  # of numbers of steps


@dataclass(frozen=True)
class BridgeConfig(Checked):
    """Shape of the two networks, and what they are shown."""

    width: Count = 384
    """Units of each hidden layer."""
    depth: Count = 3
    """Hidden layers."""
    num_prismatic: Annotated[int, at_least(0)] = 0
    """Leading coordinates that are lengths, no angles."""
    invariant_joints: tuple[str, ...] = ()
    """Joints on whose position nothing depends, such as how far a body has come."""
    draws: Count = 32
    """Places of each motion that a pass trains at."""
    gap: NonNegative = 8.0
    """Mean number of steps from there to the next observation."""
    extrapolation_fraction: Probability = 0.4
    """Share of places with no observation ahead."""
    velocity_l1_weight: NonNegative = 0.05
    """Weight of the absolute error of velocities, beside the squared one of scaled states."""


class Goal(NamedTuple):
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

    spread: Tensor  # (n,) of the change of velocity in a step of the usual length
    pace: Tensor  # (n,) of velocities
    kept: Tensor  # (n,) bool
    share: Tensor  # () what the velocity before a step counts in it

    def __init__(
        self, n: int, config: BridgeConfig, moving: Tensor, way: int, usual: float
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
        self.way, self.first, self.usual = way, config.num_prismatic, usual
        angles = n - self.first
        # sums of angles along the chain are where its links point; learning may change them
        self.turn = nn.Linear(angles, angles, bias=False)
        with torch.no_grad():
            self.turn.weight.copy_(torch.tril(torch.ones(angles, angles)))
        self.register_buffer("kept", moving, persistent=False)
        inputs = int(moving.sum()) + n + 4 * angles + 3 * n + 2 * angles + self.first + 3
        layers: list[nn.Module] = []
        for _ in range(config.depth):
            layers += [nn.Linear(inputs, config.width), nn.SiLU()]
            inputs = config.width
        last = nn.Linear(inputs, 2 * n)
        for values in last.parameters():
            nn.init.zeros_(values)  # what is not learned yet is the parabola
        self.network = nn.Sequential(*layers, last)
        for name, value in (("spread", 1.0), ("pace", 1.0)):
            self.register_buffer(name, torch.full((n,), value))
        self.register_buffer("share", torch.zeros(()))

    @property
    def near(self) -> Tensor:
        """What the velocity that a step starts from counts in it."""
        return self.share if self.way == FORWARD else 1 - self.share

    def forward(self, q: Tensor, v: Tensor, h: Tensor, goal: Goal) -> tuple[Tensor, Tensor]:
        """Return where a step of h (N, 1) [s] leads, q and v (N, n)."""
        known, (there, then) = goal.steps.isfinite(), goal.state.chunk(2, 1)
        left = torch.where(known, goal.steps, 2.0).clamp(min=1.0)
        steps = left.clamp(min=2.0)
        moved = self.way * (there - q) / h
        mean = (moved - self.near * v - (1 - self.near) * then) / (steps - 1)
        aim = towards(v, then, mean, steps)
        # less than two such steps are left where rows are irregular: no whole one to average over
        aim = torch.where(left < 2 - ROUNDING, beyond(v, then, moved / left, left), aim)
        changes = [x / self.spread for x in ((mean - v) / 5, (then - v) / 5, aim)]
        told = torch.cat([*changes, self._pose(there), 1 / steps, steps.log()], 1)
        # a step's forces act where it starts in time, which backward is where it leads
        acted = q if self.way == FORWARD else q - h * v
        inputs = torch.cat([self._moves(acted, v), known * told, (~known).to(q)], 1)
        bent, free = self.network(inputs.clamp(-LIMIT, LIMIT)).chunk(2, 1)
        spread = self.spread * (h / self.usual)
        bent = aim + (1 - 2 / steps) * bent * spread
        after = v + torch.where(known, bent, free * spread)
        return q + self.way * h * (self.near * v + (1 - self.near) * after), after

    def _pose(self, q: Tensor) -> Tensor:
        turned = self.turn(q[:, self.first :])
        places = q[:, : self.first] * self.kept[: self.first]
        return torch.cat([places, turned.sin(), turned.cos()], 1)

    def _moves(self, q: Tensor, v: Tensor) -> Tensor:
        """Return how things are; with turns times sines, velocities of points are linear in it."""
        turned, turning = self.turn(q[:, self.first :]), self.turn(v[:, self.first :]) / 10
        sine, cosine = turned.sin(), turned.cos()
        own = [q[:, self.kept], v / self.pace]
        return torch.cat([*own, sine, cosine, turning * sine, turning * cosine], 1)


def towards(v: Tensor, end: Tensor, mean: Tensor, steps: Tensor) -> Tensor:
    """Return the first change of velocity (N, n) on a parabola.

    Args:
        v: velocity (N, n) now.
        end: that after `steps`.
        mean: that of the steps - 1 moments between.
        steps: (N, 1), at least 2.
    """
    bow = (mean - (v + end) / 2) * steps / (steps + 1)
    return (end - v) / steps + 6 * bow * (1 / steps) * (1 - 1 / steps)


def beyond(v: Tensor, end: Tensor, mean: Tensor, steps: Tensor) -> Tensor:
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
                    f"anywhere: no joint '{name}'; {meta.robot} has {', '.join(meta.joint_names)}"
                )
        moving = torch.tensor(
            [name not in self.config.invariant_joints for name in meta.joint_names]
        )
        self.ahead = StepNetwork(self.n, self.config, moving, FORWARD, self.step)
        self.back = StepNetwork(self.n, self.config, moving, BACKWARD, self.step)

    @property
    def context_length(self) -> int:
        """Observations before a time that are worth telling it."""
        return 1

    def standardise(self, learn: Motions) -> None:
        """Take scales, and how positions follow velocities, from the motions to learn from."""
        super().standardise(learn)
        q, v = learn.state.split(self.n, 2)
        h = learn.time.diff(dim=1).to(q)[..., None]
        change = v.diff(dim=1)
        ahead = (q.diff(dim=1) / h - v[:, 1:]).double()  # = -share * change
        share = -(ahead * change).sum() / change.double().square().sum().clamp(min=1e-12)
        for stepper in (self.ahead, self.back):
            stepper.share.copy_(share.clamp(0, 1))
            stepper.spread.copy_(_spread(change * (self.step / h)))
            stepper.pace.copy_(_spread(v))

    def loss(self, state: Tensor, time: Tensor) -> Tensor:
        """Return the errors of steps from places drawn at random, both ways."""
        state, time = (x.repeat_interleave(self.config.draws, 0) for x in (state, time))
        count, length = time.shape
        drawn = torch.empty(count, device=time.device).exponential_(1 / max(self.config.gap, 1e-6))
        reach = (2 + drawn.floor().long()).clamp(max=length - 1)
        alone = torch.rand(count, device=time.device) < self.config.extrapolation_fraction
        start = (torch.rand(count, device=time.device) * (length - reach)).long()
        ends = [(start, start + reach, self.ahead), (start + reach, start, self.back)]
        return sum(
            (
                self._walked(stepper, state, time, here, goal, alone)
                for here, goal, stepper in ends
            ),
            start=torch.zeros((), device=time.device),
        )

    def _walked(
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
        then = here + stepper.way
        h, left = (
            (time[each, row] - time[each, here]).abs().to(q)[:, None] for row in (then, goal)
        )
        q, v = stepper(q, v, h, Goal(end, torch.where(alone[:, None], torch.inf, left / h)))
        missed = torch.cat([q, v], 1) - state[each, then]
        blunt = missed[:, self.n :] / stepper.spread
        return BIG * (missed / self.scale).square().mean() + (
            self.config.velocity_l1_weight
            * nn.functional.smooth_l1_loss(blunt, torch.zeros_like(blunt), beta=SMALL)
        )

    def forward(self, record: Observations) -> Tensor:
        """Return states (B, T, 2n), of what both steppers say by how near they started."""
        fine, rows = refined(record, self.step)
        before, after = neighbours(fine.mask)
        ahead = self._walk(self.ahead, fine, after)
        back = self._walk(self.back, fine, before)
        each = torch.arange(len(before))[:, None]
        length = before.shape[1]
        since = (fine.time - fine.time[each, before.clamp(min=0)]).abs()
        until = (fine.time[each, after.clamp(max=length - 1)] - fine.time).abs()
        trust = until / (since + until).clamp(min=1e-12)
        trust = torch.where(before < 0, 0.0, torch.where(after >= length, 1.0, trust))[..., None]
        both = trust * ahead + (1 - trust) * back
        return both.to(record.state)[each, rows]

    def _walk(self, stepper: StepNetwork, record: Observations, goals: Tensor) -> Tensor:
        """Return states (B, T, 2n) of walking through all rows one way; zero before the start.

        Args:
            stepper: one of the two.
            record: with rows close to each other.
            goals: (B, T) the seen row ahead of each, or a number outside.
        """
        state, time, seen = record
        count, length = time.shape
        each = torch.arange(count)
        q, v = torch.zeros(2, count, self.n).to(state).unbind()
        found = torch.zeros_like(state)
        order = range(length) if stepper.way == FORWARD else range(length - 1, -1, -1)
        for row in order:
            last = row - stepper.way
            if 0 <= last < length:
                goal = goals[:, row]
                known = (goal >= 0) & (goal < length)
                goal = goal.clamp(0, length - 1)
                h = (time[:, row] - time[:, last]).abs()[:, None]
                left = (time[each, goal] - time[:, last]).abs()[:, None] / h
                steps = torch.where(known[:, None], left, torch.inf).to(q)
                end = state[each, goal]
                q, v = stepper(q, v, h.to(q), Goal(end, steps))
            q, v = (
                torch.where(seen[:, row, None], own, walked)
                for own, walked in zip(state[:, row].split(self.n, 1), (q, v), strict=True)
            )
            found[:, row] = torch.cat([q, v], 1)
        return found


def _spread(values: Tensor) -> Tensor:
    """Return the deviation of each column (n,) of values (..., n)."""
    spread = values.flatten(0, -2)[:: max(values.numel() // values.shape[-1] // COUNTED, 1)].std(0)
    return torch.where(spread > 1e-9, spread, torch.ones_like(spread))
