"""Engaging and stopping: at rest, with fresh joint states, within the limits."""

from __future__ import annotations

import numpy as np
import pytest
from driven_arm import ARMS, CLOCK, START, Arm, shipped
from oracle import robot

from invdyn_ros.control.computed_torque import MeasuredState
from invdyn_ros.control.controller import ArmController


@pytest.mark.parametrize("arm", ARMS)
def test_arm_is_only_engaged_at_rest_with_fresh_joint_states(arm: str) -> None:
    with Arm(arm) as driven:
        driven.run(START)
        assert "the arm moves" in str(driven.controller.engage(True))
        driven.controller.engage(False)
        driven.run(0.6)
        driven.controller.check(CLOCK + driven.simulation.time + 0.2)
        assert "no fresh joint states" in str(driven.controller.engage(True))
        driven.run(0.2)
        assert driven.controller.engage(True) is None


@pytest.mark.parametrize("arm", ARMS)
def test_arm_beyond_a_joint_limit_is_not_driven_however_steady_its_encoder(arm: str) -> None:
    """Before the first joint state, and after a fault."""
    controller = ArmController(robot(arm), shipped(arm), shipped(arm).meta.action_unit, 0.0)
    q = robot(arm).home.copy()
    q[1] = robot(arm).upper[1] + 4.0
    assert controller.engage(True) is None
    for tick in range(40):
        command = controller.update(MeasuredState(tick / robot(arm).rate, q, np.zeros_like(q)))
        assert command.action is None and "outside of" in str(command.reason)
    refusal = controller.engage(True)
    assert refusal is not None and robot(arm).joint_names[1] in refusal
    q[1] = robot(arm).upper[1] + 0.05  # moved by hand: motion may only go back
    jump = 40 / robot(arm).rate + 1.0
    for tick in range(40):
        stamp = jump + tick / robot(arm).rate
        command = controller.update(MeasuredState(stamp, q, np.zeros_like(q)))
    assert controller.engage(True) is None


@pytest.mark.parametrize("disengages", [False, True])
@pytest.mark.parametrize("arm", ["ur5", "dofbot"])
def test_stopping_and_disengaging_brake_to_rest_and_then_send_nothing(
    arm: str, disengages: bool
) -> None:
    with Arm(arm) as driven:
        driven.run(START)
        controller, body = driven.controller, driven.robot
        start, (_, qd) = driven.q, driven.simulation.true_state()
        assert np.abs(qd).max() > 0.2, "the arm moves"
        if disengages:
            controller.engage(False)
        else:
            controller.stop()
        actions = [None if driven.command is None else driven.command.action]
        for _ in range(round(0.8 * body.rate)):
            driven.step(driven.measure())
            assert driven.command is not None
            assert driven.command.reason == ("not engaged" if disengages else "stopped")
            actions.append(driven.command.action)
        sent = np.array([action for action in actions if action is not None])
        assert 3 < len(sent) < len(actions), "it is braked, then left alone"
        if controller.unit == "rad":
            assert (np.abs(np.diff(sent, axis=0)) < 1.05 * body.velocity / body.rate).all()
        _, speed = driven.simulation.true_state()
        assert np.abs(speed).max() < 0.02 and np.abs(driven.q - start).max() < 0.1
        assert controller.fault is None and controller.engage(True) is None
