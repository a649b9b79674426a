"""Planar rigid body that is identified from motions and simulated between observations.

The kinematic tree is given; masses, lengths, joint limits, shapes, friction and the floor are
identified.
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
from invdyn_ros.models.planar_body.contact_geometry import expand_capsule_links
from invdyn_ros.models.planar_body.dynamics import KinematicTree
from invdyn_ros.models.planar_body.identification import NUM_PROGRESS_STEPS, identify_body
from invdyn_ros.models.planar_body.inertia_identification import Steps
from invdyn_ros.models.planar_body.parameters import (
    BodyParameters,
    flatten_parameters,
    initial_parameters,
    unflatten_parameters,
)
from invdyn_ros.models.planar_body.simulator import PlanarBody
from invdyn_ros.models.timeseries.observations import (
    Motions,
    Observations,
    insert_intermediate_times,
    surrounding_observations,
)
from invdyn_ros.models.timeseries.time_series_model import (
    BACKWARD,
    FORWARD,
    TimeSeriesMetadata,
    TimeSeriesModel,
)

PERIOD_TOLERANCE = 1e-3  # relative difference of a step's duration from the sample period
MAX_END_ERROR = 3e-4  # scaled error at the next observation that requires a backward rollout
PERTURBATION = 3e-7  # scaled std of the initial distance of the two backward rollouts
MAX_DIVERGENCE = 1e-3  # scaled distance between the two above which the past is undetermined


@dataclass(frozen=True)
class IdentifiedBodyConfig(KinematicTree):
    """The kinematic tree, and the amount of data used for the identification."""

    capsules_per_link: PositiveInts = (1,)
    """Number of capsules of each link."""
    num_motions: PositiveInt = 1000
    """Motions used for the identification."""
    num_free_steps: PositiveInt = 60_000
    """Steps used to identify the inertia."""
    num_contact_steps: PositiveInt = 1200
    """Steps with contacts used to refine all parameters."""


class IdentifiedBody(TimeSeriesModel):
    """Simulation of an identified body from each observation to the next.

    If the simulation misses the next observation, a second one runs backwards from there, and both
    are averaged with weights according to their errors at their ends.
    """

    Config = IdentifiedBodyConfig
    config: IdentifiedBodyConfig

    def __init__(self, meta: TimeSeriesMetadata) -> None:
        """Create a body without gravity and contacts, which moves at constant velocity.

        Raises:
            ValueError: the tree has other joints than the robot.
        """
        super().__init__(meta)
        tree = self.config
        order = tree.joint_order(meta.joint_names)
        # columns of a state in the order of the tree
        self.state_order = [*order, *(self.n + k for k in order)]
        count, num_capsules = len(tree.hinges), sum(tree.capsules_per_link)
        if len(tree.capsules_per_link) != count:
            raise ValueError(
                f"capsules_per_link is {list(tree.capsules_per_link)}; give one number for each "
                f"of the {count} links"
            )
        self.capsule_links = expand_capsule_links(tree.capsules_per_link)
        initial = initial_parameters(count, num_capsules)
        self.parameter_list = nn.ParameterList(
            nn.Parameter(x.clone(), requires_grad=False) for x in flatten_parameters(initial)
        )
        self.self_collision = nn.Parameter(torch.tensor(False), requires_grad=False)

    @property
    def body_parameters(self) -> BodyParameters:
        """Identified parameters of the body."""
        return unflatten_parameters([x.detach() for x in self.parameter_list])

    @property
    def body(self) -> PlanarBody:
        """The simulator of the body."""
        return PlanarBody(self.config, self.capsule_links, bool(self.self_collision))

    def loss(self, state: Tensor, time: Tensor) -> Tensor:
        """Return the mean squared error of scaled states after one step."""
        state = state[..., self.state_order].double()
        q, v = state[:, :-1].flatten(0, 1).split(self.n, 1)
        predicted = self.body.step(
            self.body_parameters, q, v, time.diff(dim=1).double().flatten()[:, None]
        )
        error = torch.cat(predicted, 1) - state[:, 1:].flatten(0, 1)
        return (error / self.scale[self.state_order]).square().mean()

    def fit(self, train: Motions, val: Motions) -> bool:
        """Identify the body: inertia, then geometry, then a refinement of all parameters.

        Raises:
            ValueError: the motions are not those of such a body, or without contacts.
        """
        steps = self._steps(train)
        with tqdm(
            total=NUM_PROGRESS_STEPS,
            desc="identifying",
            unit="iteration",
            file=sys.stderr,
        ) as bar:
            config = self.config
            body, parameters = identify_body(
                steps,
                config,
                config.capsules_per_link,
                config.num_free_steps,
                config.num_contact_steps,
                bar.update,
            )
        self.self_collision.fill_(bool(len(body.contact_geometry.capsule_pairs)))
        for parameter, value in zip(
            self.parameter_list, flatten_parameters(parameters), strict=True
        ):
            parameter.copy_(value)
        return True

    def forward(self, observations: Observations) -> Tensor:
        """Return states (B, T, 2n)."""
        dense, rows = insert_intermediate_times(observations, self.sample_period)
        dense = dense._replace(state=dense.state[..., self.state_order].double())
        before, after = surrounding_observations(dense.mask)
        forward_rollout = self._rollout(dense, after, FORWARD, torch.ones_like(dense.mask))
        length = dense.mask.shape[1]
        batch = torch.arange(len(before))[:, None]
        first, last = before.clamp(min=0), after.clamp(max=length - 1)
        end_error = torch.where(before < 0, torch.inf, forward_rollout.end_error[batch, first])
        backward_rollout = self._rollout_backward(
            dense, before, (end_error > MAX_END_ERROR) & (after < length)
        )
        # expected errors, if they grow linearly from the start of a rollout to its end
        forward_error = ((dense.time - dense.time[batch, first]) * end_error).square()
        backward_error = (
            (dense.time[batch, last] - dense.time) * backward_rollout.end_error[batch, last]
        ).square()
        weight = (backward_error / (backward_error + forward_error).clamp(min=1e-30))[..., None]
        weight = torch.where(weight.isnan() | (after == length)[..., None], 1.0, weight)
        weight = torch.where((before < 0)[..., None], 0.0, weight)
        average = torch.where(weight > 0, weight * forward_rollout.state, 0.0)
        average = average + torch.where(weight < 1, (1 - weight) * backward_rollout.state, 0.0)
        observed = dense.state[batch, torch.where(before < 0, last, first)]
        average = torch.where(average.isfinite(), average, observed)  # the simulation diverged
        states = torch.empty_like(average)
        states[..., self.state_order] = average
        return states.to(observations.state)[batch, rows]

    def _steps(self, train: Motions) -> Steps:
        """Return the steps (N, n) of `num_motions` random motions, shuffled.

        Raises:
            ValueError: no two samples are one step apart.
        """
        train = train.rows(torch.randperm(train.size)[: self.config.num_motions])
        q, v = train.state[..., self.state_order].double().split(self.n, 2)
        regular = (train.time.diff(dim=1) / self.sample_period - 1).abs() < PERIOD_TOLERANCE
        if not regular.any():
            raise ValueError(
                f"no two samples are one sample period, {self.sample_period} s, apart; collect "
                "motions without dropout"
            )
        q, v, next_v = (x[regular] for x in (q[:, :-1], v[:, :-1], v[:, 1:]))
        order = torch.randperm(len(q))
        return Steps(q[order], v[order], next_v[order], self.sample_period)

    def _rollout_backward(
        self, observations: Observations, goals: Tensor, needed: Tensor
    ) -> Rollout:
        """Simulate backwards, at constant velocity once the past is undetermined.

        Contacts dissipate energy, so different pasts lead to the same state in contact. A second
        rollout starts at a slightly perturbed state; once both diverge, the past is undetermined.
        """
        scale = self.scale[self.state_order].double()
        rollout = self._rollout(observations, goals, BACKWARD, needed)
        perturbation = (
            PERTURBATION
            * scale
            * torch.randn(observations.state.shape[2], generator=_generator()).to(scale)
        )
        perturbed = self._rollout(
            observations._replace(state=observations.state + perturbation), goals, BACKWARD, needed
        )
        distance = ((rollout.state - perturbed.state) / scale).abs().amax(2)
        predicted = needed & ~observations.mask
        undetermined = predicted & ~(distance < MAX_DIVERGENCE)  # also true for NaN
        state = rollout.state.clone()
        for row in range(state.shape[1] - 2, -1, -1):
            undetermined[:, row] |= undetermined[:, row + 1] & predicted[:, row]
            q, v = state[:, row + 1].split(self.n, 1)
            h = (observations.time[:, row + 1] - observations.time[:, row]).double()[:, None]
            constant_velocity = torch.cat([q - h * v, v], 1)
            state[:, row] = torch.where(
                undetermined[:, row, None], constant_velocity, state[:, row]
            )
            mask = observations.mask[:, row, None]
            state[:, row] = torch.where(mask, observations.state[:, row], state[:, row])
        return rollout._replace(state=state)

    def _rollout(
        self, observations: Observations, goals: Tensor, direction: int, needed: Tensor
    ) -> Rollout:
        """Simulate from every observed row through the unobserved ones to the next observed one.

        Args:
            observations: motions (B, T) with rows close to each other, states in `state_order`.
            goals: (B, T) index of the next observed row, or an index out of range.
            direction: FORWARD or BACKWARD.
            needed: (B, T) rows that are to be predicted.
        """
        state, time, mask = observations
        length = mask.shape[1]
        step = self.body.step if direction == FORWARD else self.body.step_backward
        states = torch.full_like(state, torch.nan)
        end_error = torch.full_like(state[..., 0], torch.inf)
        starts = torch.zeros_like(mask)  # rows from which a rollout starts
        if direction == FORWARD:
            starts[:, :-1] = mask[:, :-1] & ~mask[:, 1:] & needed[:, 1:]
        else:
            starts[:, 1:] = mask[:, 1:] & ~mask[:, :-1] & needed[:, :-1]
        motion, start = starts.nonzero(as_tuple=True)
        goal = goals[motion, start + direction]
        count = (goal.clamp(0, length - 1) - start) * direction
        q, v = state[motion, start].split(self.n, 1)
        number = 0
        while len(motion):
            number += 1
            row = start + direction * number
            h = (time[motion, row] - time[motion, row - direction]).abs().double()[:, None]
            q, v = step(self.body_parameters, q, v, h)
            predicted = torch.cat([q, v], 1)
            at_goal = row == goal
            error = (predicted - state[motion, row])[at_goal] / self.scale[
                self.state_order
            ].double()
            end_error[motion[at_goal], start[at_goal]] = error.abs().amax(1)
            states[motion, row] = predicted
            active = (count > number) & predicted.isfinite().all(1)
            motion, start, goal, count, q, v = (
                x[active] for x in (motion, start, goal, count, q, v)
            )
        return Rollout(states, end_error)


class Rollout(NamedTuple):
    """States of rollouts through the unobserved rows."""

    state: Tensor  # (B, T, 2n), NaN in rows without a rollout
    end_error: Tensor  # (B, T) largest scaled error at the end of the rollout from each row


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)
