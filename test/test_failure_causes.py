"""Causes of failed episodes, classified from their traces."""

import numpy as np
import pytest

from invdyn_ros.grasp.policies.failure_causes import (
    MIN_HOLD_TIME,
    EpisodeTrace,
    classify_failure,
)

BLOCK = 0.04  # [m]
STEP = 0.04  # [s]


def make_trace(*parts, detected=True):
    """Return a trace from parts of (samples, grasped, height, opening)."""
    rows = [part[1:] for part in parts for _ in range(part[0])]
    grasped, height, opening = np.array(rows, float).T
    stopped = np.zeros(len(rows), bool)
    return EpisodeTrace(
        STEP * np.arange(len(rows)), grasped.astype(bool), height, opening, stopped, detected
    )


MOVING, GRASPED, TOUCHED = (50, 0, 0.0, 0.085), (20, 1, 0.0, BLOCK), (2, 1, 0.0, BLOCK)
LIFTED, DROPPED, EMPTY = (20, 1, 0.03, BLOCK), (30, 0, 0.0, 0.03), (20, 0, 0.0, 0.001)


@pytest.mark.parametrize(
    ("parts", "cause"),
    [
        ([MOVING], "timeout"),
        ([MOVING, GRASPED], "timeout"),
        ([MOVING, GRASPED, (2, 0, 0.0, BLOCK)], "timeout"),  # a contact that flickers
        ([MOVING, EMPTY], "missed_grasp"),
        ([MOVING, EMPTY, MOVING], "missed_grasp"),
        (
            [MOVING, (20, 1, 0.01, 0.002), DROPPED],
            "missed_grasp",
        ),  # closed pads that lean on the block
        ([MOVING, TOUCHED, EMPTY], "missed_grasp"),
        ([MOVING, EMPTY, MOVING, GRASPED], "timeout"),
        ([MOVING, GRASPED, DROPPED], "slipped"),
        ([MOVING, GRASPED, LIFTED, DROPPED], "slipped"),
        ([MOVING, (2, 1, 0.02, BLOCK), DROPPED], "slipped"),
        ([MOVING, GRASPED, LIFTED, MOVING], "misplaced"),
        ([MOVING, GRASPED, LIFTED, MOVING, DROPPED], "misplaced"),
        ([MOVING, GRASPED, LIFTED, DROPPED, (9, 0, 0.0, 0.002), MOVING], "slipped"),
        ([MOVING, GRASPED, DROPPED, MOVING, EMPTY], "slipped"),
        ([MOVING, GRASPED, MOVING], "slipped"),
        ([MOVING, (50, 0, 0.03, 0.085)], "timeout"),  # in the air, but not between the pads
    ],
)
def test_failure_cause_is_classified_from_the_trace(parts, cause):
    assert classify_failure(make_trace(*parts), BLOCK) == cause
    assert classify_failure(make_trace(*parts, detected=False), BLOCK) == "not_detected"


def test_grasp_needs_a_minimum_contact_time():
    need = round(MIN_HOLD_TIME / STEP) + 1  # consecutive samples
    for samples, cause in ((need - 1, "missed_grasp"), (need, "slipped")):
        contact = (samples, 1, 0.0, BLOCK)
        assert classify_failure(make_trace(MOVING, contact, EMPTY, contact, EMPTY), BLOCK) == cause


@pytest.mark.parametrize("parts", [[MOVING], [MOVING, GRASPED, LIFTED, DROPPED]])
def test_arm_that_is_stopped_at_the_end_is_the_cause_whatever_came_before(parts):
    trace = make_trace(*parts, (60, 0, 0.0, 0.085))
    for count, is_stopped in ((60, True), (30, True), (20, False)):
        trace.stopped[:] = False
        trace.stopped[-count:] = True
        assert (classify_failure(trace, BLOCK) == "stopped") == is_stopped
    trace.stopped[:] = np.arange(len(trace.time)) < len(trace.time) - 60
    assert classify_failure(trace, BLOCK) != "stopped", "it went on"


def test_trace_needs_samples():
    empty = EpisodeTrace(*(np.zeros(0) for _ in range(5)))
    for wrong in (empty, make_trace(MOVING)._replace(height=np.zeros(3))):
        with pytest.raises(ValueError, match="columns of equal length"):
            classify_failure(wrong, BLOCK)
