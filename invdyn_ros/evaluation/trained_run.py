"""A trained model with its reports, and the choice between those of several families."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from invdyn_ros.models.drive_check import DRIVE_CHECK_KEY, refusal
from invdyn_ros.models.inverse_dynamics import InverseDynamics
from invdyn_ros.models.registry import MODELS
from invdyn_ros.training.run_config import TrainConfig

MAX_ROLLOUT_RATIO = 2.0  # of the tracking error in rollouts to the lowest one
GOOD_ROLLOUT_RMS = 0.002  # [rad] that is good enough whatever the lowest is


class TrainedRun(NamedTuple):
    """A trained model and its evaluation reports on the validation and test splits."""

    checkpoint: Path
    config: TrainConfig
    model: InverseDynamics
    val: dict[str, Any]
    test: dict[str, Any]
    seconds: float | None  # of training; None: an earlier run had trained it

    @property
    def val_nmse(self) -> float:
        """Mean nMSE on the validation split, by which runs are ranked; infinite if undefined."""
        mean = self.val["nmse"]["mean"]
        return float("inf") if mean is None else float(mean)

    @property
    def refusal(self) -> str:
        """Why the model may not drive an arm, empty if it may or was not checked."""
        return refusal(self.model.meta.data)

    @property
    def rollout_rms(self) -> float:
        """RMS tracking error [rad] in short rollouts, infinite if there were none."""
        rms = self.model.meta.data.get(DRIVE_CHECK_KEY, {}).get("rollout_rms")
        return float("inf") if rms is None else float(rms)


def best_family(best_runs: Mapping[str, TrainedRun]) -> dict[str, Any]:
    """Choose the simplest family within the 95% interval of the most accurate one.

    A family that may not drive an arm, or that follows much worse than another in rollouts, is
    only chosen if there is no other.
    """
    allowed = [family for family, run in best_runs.items() if not run.refusal] or [*best_runs]
    lowest_rms = min(best_runs[family].rollout_rms for family in allowed)
    limit = max(MAX_ROLLOUT_RATIO * lowest_rms, GOOD_ROLLOUT_RMS)
    allowed = [family for family in allowed if best_runs[family].rollout_rms <= limit]
    ranked = sorted(allowed, key=lambda family: best_runs[family].val_nmse)
    lowest = best_runs[ranked[0]]
    high = lowest.val["nmse"]["ci95"][1]
    highest = lowest.val_nmse if high is None else max(high, lowest.val_nmse)
    within = [family for family in ranked if best_runs[family].val_nmse <= highest]
    best = min(within, key=[*MODELS].index)
    reason = f"lowest nMSE on validation, {_percent(lowest)}"
    if best != ranked[0]:
        reason = (
            f"nMSE on validation {_percent(best_runs[best])}, the simplest within the 95% "
            f"interval of the lowest, {ranked[0]} with {_percent(lowest)}"
        )
    elif len(ranked) > 1:
        reason += f"; next {ranked[1]}, {_percent(best_runs[ranked[1]])}"
    if refused := [family for family in best_runs if family not in allowed]:
        reason += f"; worse to drive with: {', '.join(refused)}"
    return {"family": best, "checkpoint": best_runs[best].checkpoint.name, "reason": reason}


def _percent(run: TrainedRun) -> str:
    return f"{100 * run.val_nmse:.3g}%"
