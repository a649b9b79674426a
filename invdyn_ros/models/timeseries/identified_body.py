"""A planar body that is identified from its motions: a record enters, what happened leaves.

Which link hangs on which is told; masses, lengths, limits, shapes, friction and the floor are not.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import NamedTuple

import torch
from pydantic import PositiveInt
from torch import Tensor, nn
from tqdm import tqdm

from invdyn_ros.config import PositiveInts
from invdyn_ros.models.planar_body.contact_solver import ContactParameters
from invdyn_ros.models.planar_body.dynamics import Inertia, KinematicTree
from invdyn_ros.models.planar_body.geometry_identification import LIMIT_TORQUE, identify_geometry
from invdyn_ros.models.planar_body.inertia_identification import (
    FREE_FALL_FORCE,
    Steps,
    external_forces,
    identify_inertia,
)
from invdyn_ros.models.planar_body.refinement import (
    ITERATIONS_PER_WIDTH,
    KERNEL_WIDTHS,
    refine_parameters,
    select_geometry,
    velocity_residuals,
)
from invdyn_ros.models.planar_body.simulator import BodyParameters, PlanarBody
from invdyn_ros.models.timeseries.observations import (
    Motions,
    Observations,
    insert_intermediate_times,
    surrounding_observations,
)
from invdyn_ros.models.timeseries.time_series_model import TimeSeriesMetadata, TimeSeriesModel

FORWARD, BACKWARD = 1, -1
STEP_TOLERANCE = 1e-3  # relative difference of a step's time that is none
MAX_END_ERROR = 3e-4  # scaled error at the next observation, below which a walk was right
SELECTION_FACTOR = 5  # times as many steps decide between guesses as polish
PERTURBATION, MAX_DIVERGENCE = (
    3e-7,
    1e-3,
)  # scaled distance of two walks into the past, at first and too far
DEFAULT_CONTACT = ContactParameters(
    *(torch.tensor(x, dtype=torch.float64) for x in (0.02, 0.9, 0.95, 1e-3))
)


@dataclass(frozen=True)
class IdentifiedBodyConfig(KinematicTree):
    """What hangs on what, and how much is looked at."""

    capsules_per_link: PositiveInts = (1,)
    """Round-ended rods that each link is made of."""
    num_motions: PositiveInt = 1000
    """Motions that figures are found from."""
    num_free_steps: PositiveInt = 60_000
    """Steps that inertia is found from."""
    num_contact_steps: PositiveInt = 1200
    """Steps with touches that all figures are polished on."""


class IdentifiedBody(TimeSeriesModel):
    """Walks from each observation to the next by the laws of rigid bodies, and back where it must.

    A walk that arrives where the next observation is was right. Where it does not, another goes
    back from there, and each counts by how far it missed the other's start.
    """

    Config = IdentifiedBodyConfig
    config: IdentifiedBodyConfig

    def __init__(self, meta: TimeSeriesMetadata) -> None:
        """Start from a body of which nothing is known: all goes on as it goes.

        Raises:
            ValueError: a tree of other joints.
        """
        super().__init__(meta)
        tree = self.config
        order = tree.joint_order(meta.joint_names)
        self.state_order = [
            *order,
            *(self.n + k for k in order),
        ]  # of a state, as the tree has them
        count, rods = len(tree.hinges), sum(tree.capsules_per_link)
        if len(tree.capsules_per_link) != count:
            raise ValueError(
                f"capsules_per_link is {list(tree.capsules_per_link)}; give one number for each of {count} links"
            )
        self.capsule_links = tuple(
            k for k, some in enumerate(tree.capsules_per_link) for _ in range(some)
        )
        diagonal = 0.01 * torch.eye(count, dtype=torch.float64)
        empty = BodyParameters(
            Inertia(
                _zeros(count, 2), torch.stack([diagonal, 0 * diagonal], -1), _zeros(count),
                _zeros(count), _zeros(),
            ),
            _zeros(count, 2), _zeros(count) - torch.inf, _zeros(count) + torch.inf,
            _zeros(rods, 2, 2), _zeros(rods), _zeros(count) + 1, _zeros() - torch.inf,
            _zeros() + 1, DEFAULT_CONTACT, DEFAULT_CONTACT,
        )  # fmt: skip
        self.parameter_list = nn.ParameterList(
            nn.Parameter(x.clone(), requires_grad=False) for x in _flatten(empty)
        )
        self.self_collision = nn.Parameter(torch.tensor(False), requires_grad=False)

    @property
    def body_parameters(self) -> BodyParameters:
        """What is known of the body."""
        return _unflatten([x.detach() for x in self.parameter_list])

    @property
    def body(self) -> PlanarBody:
        """What touches what."""
        return PlanarBody(self.config, self.capsule_links, bool(self.self_collision))

    def loss(self, state: Tensor, time: Tensor) -> Tensor:
        """Return the mean squared error of scaled states after one step."""
        state = state[..., self.state_order].double()
        q, v = state[:, :-1].flatten(0, 1).split(self.n, 1)
        ahead = self.body.step(
            self.body_parameters, q, v, time.diff(dim=1).double().flatten()[:, None]
        )
        missed = torch.cat(ahead, 1) - state[:, 1:].flatten(0, 1)
        return (missed / self.scale[self.state_order]).square().mean()

    def fit(self, train: Motions, val: Motions) -> bool:
        """Identify the body: inertia, then shape, then all to the last digit.

        Raises:
            ValueError: motions that are not those of such a body, or that touch nothing.
        """
        steps = self._steps(train)
        bar = tqdm(
            total=3 + len(KERNEL_WIDTHS) * ITERATIONS_PER_WIDTH,
            desc="identifying",
            unit="turn",
            file=sys.stderr,
        )
        with bar:
            found = identify_inertia(steps.select(slice(self.config.num_free_steps)), self.config)
            bar.update()
            shape = identify_geometry(steps, self.config, self.config.capsules_per_link, found)
            bar.update()
            force = external_forces(found.inertia, self.config.angle_matrix(), steps)
            outside, torques = force[:, :2].norm(dim=1), force[:, 2:].abs().amax(1)
            touched = torch.nonzero((outside > FREE_FALL_FORCE) | (torques > LIMIT_TORQUE))[:, 0]
            spread = (steps.next_v - steps.v).std(0)
            many = steps.select(touched[: SELECTION_FACTOR * self.config.num_contact_steps])
            resting = PlanarBody(self.config, self.capsule_links).link_invweight(
                found.inertia, found.hinge_pos, shape.capsule_ends
            )
            first = BodyParameters(
                found.inertia, found.hinge_pos, shape.lower, shape.upper, shape.capsule_ends, shape.capsule_radius,
                resting, shape.floor_height, _zeros() + 1, DEFAULT_CONTACT, DEFAULT_CONTACT,
            )  # fmt: skip
            body, first = select_geometry(
                self.config, self.capsule_links, first, shape.num_unobserved_ends, many, spread
            )
            bar.update()
            off = velocity_residuals(body, first, many, spread).square().sum(1)
            odd = off.argsort(descending=True)[
                : self.config.num_contact_steps // 3
            ]  # rare touches
            rest = torch.arange(self.config.num_contact_steps - len(odd))
            figures = refine_parameters(
                body, first, many.select(torch.cat([odd, rest])), spread, bar.update
            )
        self.self_collision.fill_(bool(len(body.capsule_pairs)))
        for own, value in zip(self.parameter_list, _flatten(figures), strict=True):
            own.copy_(value)
        return True

    def forward(self, observations: Observations) -> Tensor:
        """Return states (B, T, 2n)."""
        fine, rows = insert_intermediate_times(observations, self.sample_period)
        fine = fine._replace(state=fine.state[..., self.state_order].double())
        before, after = surrounding_observations(fine.mask)
        ahead = self._rollout(fine, after, FORWARD, torch.ones_like(fine.mask))
        length = fine.mask.shape[1]
        each = torch.arange(len(before))[:, None]
        first, last = before.clamp(min=0), after.clamp(max=length - 1)
        missed = torch.where(before < 0, torch.inf, ahead.end_error[each, first])
        behind = self._rollout_backward(fine, before, (missed > MAX_END_ERROR) & (after < length))
        # how far each may be off here, if it drifts from its start on to where it missed
        drift = ((fine.time - fine.time[each, first]) * missed).square()
        other = ((fine.time[each, last] - fine.time) * behind.end_error[each, last]).square()
        trust = (other / (other + drift).clamp(min=1e-30))[..., None]
        trust = torch.where(trust.isnan() | (after == length)[..., None], 1.0, trust)
        trust = torch.where((before < 0)[..., None], 0.0, trust)
        found = torch.where(trust > 0, trust * ahead.state, 0.0)
        found = found + torch.where(trust < 1, (1 - trust) * behind.state, 0.0)
        near = fine.state[each, torch.where(before < 0, last, first)]
        found = torch.where(found.isfinite(), found, near)  # far from all that such a body does
        out = torch.empty_like(found)
        out[..., self.state_order] = found
        return out.to(observations.state)[each, rows]

    def _steps(self, train: Motions) -> Steps:
        """Return steps (N, n) of as many motions as are looked at, in any order.

        Raises:
            ValueError: no two samples are one step apart.
        """
        train = train.rows(torch.randperm(train.size)[: self.config.num_motions])
        q, v = train.state[..., self.state_order].double().split(self.n, 2)
        right = (train.time.diff(dim=1) / self.sample_period - 1).abs() < STEP_TOLERANCE
        if not right.any():
            raise ValueError(f"no two samples are {self.sample_period} s apart, which is one step")
        q, v, after = (x[right] for x in (q[:, :-1], v[:, :-1], v[:, 1:]))
        shuffled = torch.randperm(len(q))
        return Steps(q[shuffled], v[shuffled], after[shuffled], self.sample_period)

    def _rollout_backward(self, record: Observations, goals: Tensor, wanted: Tensor) -> Rollout:
        """Walk backwards, at constant speed once the past is lost.

        What touches is slowed, so a past that touched may have been many a one. A second walk
        starts a hair beside; where both have parted nothing tells them from each other.
        """
        scale = self.scale[self.state_order].double()
        way = self._rollout(record, goals, BACKWARD, wanted)
        hair = (
            PERTURBATION
            * scale
            * torch.randn(record.state.shape[2], generator=_generator()).to(scale)
        )
        twin = self._rollout(record._replace(state=record.state + hair), goals, BACKWARD, wanted)
        parted = ((way.state - twin.state) / scale).abs().amax(2)
        due = wanted & ~record.mask
        lost = due & ~(parted < MAX_DIVERGENCE)  # also true for NaN
        state = way.state.clone()
        for row in range(state.shape[1] - 2, -1, -1):
            lost[:, row] |= lost[:, row + 1] & due[:, row]
            q, v = state[:, row + 1].split(self.n, 1)
            h = (record.time[:, row + 1] - record.time[:, row]).double()[:, None]
            on = torch.cat([q - h * v, v], 1)
            state[:, row] = torch.where(lost[:, row, None], on, state[:, row])
            seen = record.mask[:, row, None]
            state[:, row] = torch.where(seen, record.state[:, row], state[:, row])
        return way._replace(state=state)

    def _rollout(self, record: Observations, goals: Tensor, way: int, wanted: Tensor) -> Rollout:
        """Walk from every seen row through those that are not, to the next one that is.

        Args:
            record: motions (B, T) with rows close to each other, states as `columns` order them.
            goals: (B, T) the seen row ahead of each, or a number outside.
            way: FORWARD or BACKWARD.
            wanted: (B, T) rows from which on it is worth it.
        """
        state, time, seen = record
        length, move = seen.shape[1], self.body.step if way == FORWARD else self.body.step_backward
        found = torch.full_like(state, torch.nan)
        missed = torch.full_like(state[..., 0], torch.inf)
        beyond = torch.zeros_like(seen)  # rows after which one walks
        if way == FORWARD:
            beyond[:, :-1] = seen[:, :-1] & ~seen[:, 1:] & wanted[:, 1:]
        else:
            beyond[:, 1:] = seen[:, 1:] & ~seen[:, :-1] & wanted[:, :-1]
        motion, start = beyond.nonzero(as_tuple=True)
        goal = goals[motion, start + way]
        count = (goal.clamp(0, length - 1) - start) * way
        q, v = state[motion, start].split(self.n, 1)
        number = 0
        while len(motion):
            number += 1
            row = start + way * number
            h = (time[motion, row] - time[motion, row - way]).abs().double()[:, None]
            q, v = move(self.body_parameters, q, v, h)
            there = torch.cat([q, v], 1)
            end = row == goal
            off = (there - state[motion, row])[end] / self.scale[self.state_order].double()
            missed[motion[end], start[end]] = off.abs().amax(1)
            found[motion, row] = there
            go = (count > number) & there.isfinite().all(1)
            motion, start, goal, count, q, v = (x[go] for x in (motion, start, goal, count, q, v))
        return Rollout(found, missed)


class Rollout(NamedTuple):
    """Where walks came along."""

    state: Tensor  # (B, T, 2n), NaN where none came along
    end_error: Tensor  # (B, T) largest scaled error at the end of the walk from each row


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def _zeros(*shape: int) -> Tensor:
    return torch.zeros(shape, dtype=torch.float64)


def _flatten(figures: BodyParameters) -> list[Tensor]:
    """Return all figures one after the other."""
    return [x for part in figures for x in (part if isinstance(part, tuple) else (part,))]


def _unflatten(parts: list[Tensor]) -> BodyParameters:
    """Return figures of what `_flat` returned."""
    rest = iter(parts)

    def some(count: int) -> list[Tensor]:
        return [next(rest) for _ in range(count)]

    inertia, plain = Inertia(*some(len(Inertia._fields))), some(len(BodyParameters._fields) - 3)
    laws = [ContactParameters(*some(len(ContactParameters._fields))) for _ in range(2)]
    return BodyParameters(inertia, *plain, *laws)  # type: ignore[arg-type]  # counted right
