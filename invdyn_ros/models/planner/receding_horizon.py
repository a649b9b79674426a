"""Receding-horizon control: plan, convert plans to actions, select the best, execute, repeat.

The planner predicts states only, and the inverse dynamics model predicts the actions that realise
them, so that either can be replaced without the other, as in Ajay et al. 2023 (arXiv 2211.15657,
section 3.2).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from pydantic import NonNegativeFloat, PositiveInt
from torch import Tensor

from invdyn_ros.config import Validated
from invdyn_ros.models.inverse_dynamics import InverseDynamics
from invdyn_ros.models.planner.planner import Planner
from invdyn_ros.typing import Array

VELOCITY_WEIGHT = 0.1  # [s2] weight of squared velocity errors relative to position errors


class Candidates(NamedTuple):
    """Plans to choose from."""

    plans: Tensor  # (N, T, S) states, the first of them the current one; T is 0 without plans
    actions: Tensor  # (N, K, n)
    previous_actions: Tensor  # (0 to 2, n) last actions that were executed


ProposeFn = Callable[[Tensor, Tensor, torch.Generator], tuple[Tensor, Tensor]]
ScoreFn = Callable[[Candidates], Tensor]  # (N,), the smallest is the best


@dataclass(frozen=True)
class RecedingHorizonConfig(Validated):
    """Settings of planning and execution."""

    num_plans: PositiveInt = 64
    """Plans to choose from."""
    n_action_steps: PositiveInt = 5
    """Actions of a plan that are executed before the next plan."""
    temperature: NonNegativeFloat | None = None
    """Temperature at which actions are sampled from the inverse dynamics model;
    None: its mean."""


class PlannedActions:
    """Plans of a planner, with the actions that an inverse dynamics model predicts for them."""

    def __init__(
        self, planner: Planner, inverse_dynamics: InverseDynamics, config: RecedingHorizonConfig
    ) -> None:
        """Combine a planner and an inverse dynamics model.

        Args:
            planner: any planner.
            inverse_dynamics: any model of the same joints.
            config: number of plans and temperature.
        """
        self.planner, self.inverse_dynamics, self.config = planner, inverse_dynamics, config

    def __call__(
        self, state: Tensor, condition: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Return plans (N, T, S) and their actions (N, T - 1, n).

        Args:
            state: (S,) current state.
            condition: (C,) goal of the plans.
            generator: random number generator.

        Raises:
            ValueError: the planner returns another shape, or plans with another first state.
        """
        count = self.config.num_plans
        plans = self.planner(state, condition, count, generator)
        if plans.ndim != 3 or plans.shape[1] < 2 or plans.shape[::2] != (count, len(state)):
            raise ValueError(
                f"plans have shape {tuple(plans.shape)}; expected ({count}, T, {len(state)}), T "
                "at least 2"
            )
        if not torch.equal(plans[:, 0], state.expand(count, -1).to(plans)):
            raise ValueError("the first state of each plan must be the current state")
        return plans, plan_actions(
            plans, self.inverse_dynamics, self.config.temperature, generator
        )


def plan_actions(
    plans: Tensor,
    inverse_dynamics: InverseDynamics,
    temperature: float | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Return the actions (N, T - 1, n) that realise plans (N, T, 2n).

    An action is constant from its state to the next one, so it must cause the acceleration
    (qd' - qd) / dt. Each action is computed for the motion `action_delay` later.

    Args:
        plans: states at the rate of the model's data.
        inverse_dynamics: any inverse dynamics model.
        temperature: of sampled actions; None: the mean.
        generator: random number generator of the noise.
    """
    n, rate = inverse_dynamics.n, inverse_dynamics.meta.rate
    if plans.shape[-1] != 2 * n:
        raise ValueError(
            f"plans have shape {tuple(plans.shape)}; a model of {n} joints takes (N, T, {2 * n})"
        )
    acceleration = torch.diff(plans[..., n:], dim=1) * rate
    motion = torch.cat([plans[:, :-1], acceleration], dim=-1)  # (N, T - 1, 3n)
    last = motion.shape[1] - 1
    delayed = (torch.arange(last + 1) + inverse_dynamics.meta.action_delay * rate).clamp(0, last)
    lower = delayed.floor().long()
    fraction = (delayed - lower)[:, None].to(motion)
    motion = torch.lerp(motion[:, lower], motion[:, (lower + 1).clamp_max(last)], fraction)
    time = (torch.arange(last + 1) / rate).expand(len(plans), -1)
    if temperature is None:
        return inverse_dynamics.predict(motion, time).mean
    return inverse_dynamics.sample(motion, time, 1, temperature, generator)[0]


class RecedingHorizonPlanner:
    """Policy that executes a few actions of the best plan, then plans again."""

    def __init__(self, propose: ProposeFn, config: RecedingHorizonConfig, seed: int = 0) -> None:
        """Start an episode.

        Args:
            propose: returns plans and their actions, such as `PlannedActions`.
            config: number of actions of a plan that are executed.
            seed: of the random number generator.
        """
        self.propose, self.config = propose, config
        self.generator = torch.Generator().manual_seed(seed)
        self.plan: Array = np.empty((0, 0))  # (T, S) plan that is executed
        self._pending_actions: list[Tensor] = []
        self._sent_actions: list[Tensor] = []

    def __call__(self, state: Array, condition: Array, score: ScoreFn) -> Array:
        """Return the action (n,) to execute now.

        Args:
            state: (S,) measured state.
            condition: (C,) goal of the plans; used only when a new plan is due.
            score: score of candidates; the plan with the smallest one is executed.
        """
        if not self._pending_actions:
            current, goal = (torch.as_tensor(x, dtype=torch.float32) for x in (state, condition))
            plans, actions = self.propose(current, goal, self.generator)
            previous = actions.new_empty(0, actions.shape[-1])
            if self._sent_actions:
                previous = torch.stack(self._sent_actions)
            best = int(score(Candidates(plans, actions, previous)).argmin())
            self.plan = plans[best].double().numpy()
            self._pending_actions = list(actions[best, : self.config.n_action_steps])
        action = self._pending_actions.pop(0)
        self._sent_actions = [*self._sent_actions, action][-2:]
        return action.double().numpy()


def goal_distance(goal: Array) -> ScoreFn:
    """Return a score: the mean squared distance [rad2] of a plan from a goal (S,) = [q, qd].

    Velocity errors are weighted by VELOCITY_WEIGHT. Plans that reach the goal early and stay there
    have the smallest score.
    """
    target = torch.as_tensor(goal, dtype=torch.float32)
    n = len(target) // 2
    weight = torch.tensor([1.0] * n + [VELOCITY_WEIGHT] * n)

    def score(candidates: Candidates) -> Tensor:
        return ((candidates.plans - target).square() * weight).sum(-1).mean(1)

    return score


def action_smoothness(candidates: Candidates) -> Tensor:
    """Return the mean squared second difference (N,) of actions, including the previous ones."""
    previous = candidates.previous_actions.expand(len(candidates.actions), -1, -1)
    second = torch.diff(torch.cat([previous, candidates.actions], dim=1), n=2, dim=1)
    return second.square().sum(-1).mean(1)
