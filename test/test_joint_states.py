"""Joint states of an arm in any order, with other joints, in parts, with absent interfaces."""

from __future__ import annotations

import numpy as np
import pytest

from invdyn_ros.data.joint_states import (
    MAX_ABSENCE,
    JointStateParts,
    MissingJoints,
    OtherJoints,
)

NAMES = ("a", "b", "c", "d")
VALUE = {"a": 1.0, "b": 2.0, "c": 3.0, "d": 4.0, "finger": 9.0}
TICK = 2_000_000  # [ns]


def columns(names: str | list[str], **unmeasured: str) -> tuple[list[float], ...]:
    """Position, velocity and effort of joints; NaN for the named ones of a kind."""
    return tuple(
        [np.nan if name in unmeasured.get(kind, "") else VALUE[name] * scale for name in names]
        for kind, scale in (("position", 1.0), ("velocity", 10.0), ("effort", 100.0))
    )


def test_order_and_other_joints_do_not_matter() -> None:
    names = ["d", "finger", "b", "a", "c"]
    values = JointStateParts(NAMES).add(5, names, columns(names))
    assert values is not None and values.stamp == 5
    np.testing.assert_array_equal(values.position, [1, 2, 3, 4])
    np.testing.assert_array_equal(values.velocity, [10, 20, 30, 40])
    np.testing.assert_array_equal(values.effort, [100, 200, 300, 400])


def test_interface_that_one_joint_lacks_is_not_measured() -> None:
    names = [*NAMES, "finger"]
    values = JointStateParts(NAMES).add(0, names, columns(names, velocity="c", effort="finger"))
    assert values is not None and values.velocity.size == 0 and values.effort.size == 4
    q, _, _ = columns(NAMES)
    values = JointStateParts(NAMES).add(0, NAMES, (q, [], []))
    assert values is not None and values.velocity.size == values.effort.size == 0


@pytest.mark.parametrize("sequence", ["ab|cd", "cd|ab", "a|ab|cd", "d|abc", "ab|ab|ab|cd"])
def test_joints_of_two_controllers_give_a_state_for_each_pair(sequence: str) -> None:
    """One controller may be faster; the stamp is that of the oldest value."""
    parts, complete = JointStateParts(NAMES), []
    for tick in range(40):
        messages = sequence.split("|")
        names = messages[tick % len(messages)]
        values = parts.add(tick * TICK, list(names), columns(names))
        if values is not None:
            np.testing.assert_array_equal(values.position, [1, 2, 3, 4])
            complete.append((tick * TICK - values.stamp) / TICK)
    assert len(complete) == 40 // len(sequence.split("|"))
    assert set(complete) == {1.0}


def test_joint_that_no_message_has_is_named() -> None:
    parts, incomplete, stamp = JointStateParts(NAMES), ["a", "b", "c"], 0
    for _ in range(2):  # the joint comes in between, and is lost again
        for later in range(stamp + TICK, stamp + TICK + MAX_ABSENCE, TICK):
            assert parts.add(later, incomplete, columns(incomplete)) is None
        with pytest.raises(MissingJoints, match=r"lacks \['d'\]; it has \['a', 'b', 'c'\]"):
            parts.add(later + 2 * TICK, incomplete, columns(incomplete))
        stamp = later + 3 * TICK
        assert parts.add(stamp, ["d"], columns("d")) is not None


def test_parts_of_different_times_are_no_state() -> None:
    parts = JointStateParts(NAMES)
    assert parts.add(0, ["a", "b"], columns("ab")) is None
    with pytest.raises(ValueError, match=r"in messages 0\.2 s apart"):
        parts.add(2 * MAX_ABSENCE, ["c", "d"], columns("cd"))


def test_damaged_messages_are_refused() -> None:
    parts = JointStateParts(NAMES)
    with pytest.raises(OtherJoints, match="other joints"):
        parts.add(0, ["finger"], columns(["finger"]))
    with pytest.raises(ValueError, match=r"names \['b'\] more than once"):
        parts.add(0, list("abcdb"), columns("abcdb"))
    with pytest.raises(ValueError, match="names 4 joints but has 3 velocities"):
        parts.add(0, NAMES, (columns(NAMES)[0], [0.0] * 3, []))
