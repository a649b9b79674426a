"""Plan, turn plans into actions, choose, act, plan again: states enter, actions leave.

The planner knows where to go and never an action; the inverse model knows which action makes a
motion and never where to go. So either can be exchanged alone, as in Ajay et al. 2023
(arXiv 2211.15657, section 3.2).
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
from invdyn_ros.models import InverseDynamics
from invdyn_ros.models.planner.planner import Planner
from invdyn_ros.typing import Array

VELOCITY_WEIGHT = 0.1  # [s2] what a velocity is worth beside a distance


class Candidates(NamedTuple):
    """What may be done next."""

    plans: Tensor  # (N, T, S) states, the first of them the present one; T is 0 if none are known
    actions: Tensor  # (N, K, n)
    previous_actions: Tensor  # (0 to 2, n) actions sent last


ProposeFn = Callable[[Tensor, Tensor, torch.Generator], tuple[Tensor, Tensor]]
ScoreFn = Callable[[Candidates], Tensor]  # (N,), the least is the best


@dataclass(frozen=True)
class RecedingHorizonConfig(Validated):
    """How plans become actions."""

    num_plans: PositiveInt = 64
    """Plans to choose from."""
    n_action_steps: PositiveInt = 5
    """Actions of a plan that are sent before the next plan."""
    temperature: NonNegativeFloat | None = None
    """At which actions are drawn from the inverse model; none: its mean."""


class PlannedActions:
    """Proposes plans with the actions that make them, by any planner and any inverse model."""

    def __init__(
        self, planner: Planner, inverse: InverseDynamics, config: RecedingHorizonConfig
    ) -> None:
        """Put a planner and an inverse model together."""
        self.planner, self.inverse, self.config = planner, inverse, config

    def __call__(
        self, state: Tensor, condition: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Return plans (N, T, S) and their actions (N, T - 1, n).

        Raises:
            ValueError: the planner returns another shape, or plans that begin elsewhere.
        """
        count = self.config.num_plans
        plans = self.planner(state, condition, count, generator)
        if plans.ndim != 3 or plans.shape[1] < 2 or plans.shape[::2] != (count, len(state)):
            raise ValueError(
                f"plans have shape {tuple(plans.shape)}; expected ({count}, T, {len(state)}), T "
                "at least 2"
            )
        if not torch.equal(plans[:, 0], state.expand(count, -1).to(plans)):
            raise ValueError("the plans do not begin in the present state; put it first in each")
        return plans, plan_actions(plans, self.inverse, self.config.temperature, generator)


def plan_actions(
    plans: Tensor,
    inverse: InverseDynamics,
    temperature: float | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Return the actions (N, T - 1, n) that lead along plans (N, T, 2n).

    An action is held from its state to the next, so the acceleration it has to make is
    (qd' - qd) / dt. Where the model's actions act late (`lead`), each looks that far ahead.

    Args:
        plans: one state after the other, at the rate of the model's data.
        inverse: any model.
        temperature: at which actions are drawn; none: the mean.
        generator: source of the noise.
    """
    n, rate = inverse.n, inverse.meta.rate
    if plans.shape[-1] != 2 * n:
        raise ValueError(
            f"plans have shape {tuple(plans.shape)}; a model of {n} joints takes (N, T, {2 * n})"
        )
    slope = torch.diff(plans[..., n:], dim=1) * rate
    motion = torch.cat([plans[:, :-1], slope], dim=-1)  # (N, T - 1, 3n)
    last = motion.shape[1] - 1
    at = (torch.arange(last + 1) + inverse.meta.action_delay * rate).clamp(0, last)
    low = at.floor().long()
    part = (at - low)[:, None].to(motion)
    motion = torch.lerp(motion[:, low], motion[:, (low + 1).clamp_max(last)], part)
    time = (torch.arange(last + 1) / rate).expand(len(plans), -1)
    if temperature is None:
        return inverse.predict(motion, time).mean
    return inverse.sample(motion, time, 1, temperature, generator)[0]


class RecedingHorizonPlanner:
    """Acts along the best plan for a few ticks, then plans anew from where that led."""

    def __init__(self, propose: ProposeFn, config: RecedingHorizonConfig, seed: int = 0) -> None:
        """Begin an episode.

        Args:
            propose: returns plans and their actions, such as `PlannedActions`.
            config: how many actions of a plan are sent.
            seed: of all that is drawn.
        """
        self.propose, self.config = propose, config
        self.generator = torch.Generator().manual_seed(seed)
        self.plan: Array = np.empty((0, 0))  # (T, S) that is followed
        self._pending_actions: list[Tensor] = []
        self._sent_actions: list[Tensor] = []

    def __call__(self, state: Array, condition: Array, score: ScoreFn) -> Array:
        """Return the action (n,) to send now.

        Args:
            state: (S,) measured.
            condition: (C,) what shall come about; only looked at when it is time to plan.
            score: tells which plan is the best.
        """
        if not self._pending_actions:
            now, wanted = (torch.as_tensor(x, dtype=torch.float32) for x in (state, condition))
            plans, actions = self.propose(now, wanted, self.generator)
            before = actions.new_empty(0, actions.shape[-1])
            if self._sent_actions:
                before = torch.stack(self._sent_actions)
            best = int(score(Candidates(plans, actions, before)).argmin())
            self.plan = plans[best].double().numpy()
            self._pending_actions = list(actions[best, : self.config.n_action_steps])
        action = self._pending_actions.pop(0)
        self._sent_actions = [*self._sent_actions, action][-2:]
        return action.double().numpy()


def goal_distance(goal: Array) -> ScoreFn:
    """Return the score of plans that are soon at a goal state (S,) = [q, qd] and stay there.

    Mean over the plan of the squared distance [rad2], velocities weighted.
    """
    wanted = torch.as_tensor(goal, dtype=torch.float32)
    half = len(wanted) // 2
    weight = torch.tensor([1.0] * half + [VELOCITY_WEIGHT] * half)

    def score(candidates: Candidates) -> Tensor:
        return ((candidates.plans - wanted).square() * weight).sum(-1).mean(1)

    return score


def action_smoothness(candidates: Candidates) -> Tensor:
    """Return the mean square (N,) of the second difference of actions, from those sent last on."""
    before = candidates.previous_actions.expand(len(candidates.actions), -1, -1)
    bend = torch.diff(torch.cat([before, candidates.actions], dim=1), n=2, dim=1)
    return bend.square().sum(-1).mean(1)
