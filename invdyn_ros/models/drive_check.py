"""Verdict whether a trained model may drive an arm, as its checkpoint holds it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from invdyn_ros.robots.feedback import FEEDBACK, FeedbackConfig

DRIVE_CHECK_KEY = "drive_check"  # in `ModelMetadata.data`
FEEDBACK_KEY = "feedback"  # where the feedback is added, a `FeedbackSpace`
REASON_KEY = "reason"  # why the model may not drive; empty if it may


def refusal(data: Mapping[str, Any]) -> str:
    """Return why a model may not drive an arm, empty if it may or was never checked.

    Args:
        data: `ModelMetadata.data` of the model.
    """
    return str(data.get(DRIVE_CHECK_KEY, {}).get(REASON_KEY, ""))


def chosen_feedback(unit: str, data: Mapping[str, Any]) -> FeedbackConfig | None:
    """Return the feedback that was chosen for a model; None where the unit has none.

    Args:
        unit: unit of the commands.
        data: `ModelMetadata.data` of the model.
    """
    if unit not in FEEDBACK:
        return None
    space = data.get(DRIVE_CHECK_KEY, {}).get(FEEDBACK_KEY, "acceleration")
    return replace(FEEDBACK[unit], space=space)
