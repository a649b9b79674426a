"""Motion of a file, played by an arm that is elsewhere, not engaged, or stopped on the way."""

from pathlib import Path

import numpy as np
import pytest
from oracle import robot

from invdyn_ros.arms.pybullet_simulation import Simulation
from invdyn_ros.control.computed_torque import MeasuredState
from invdyn_ros.control.controller_loading import load_controller
from invdyn_ros.control.joint_motion import JointMotion
from invdyn_ros.data.dataset import read_dataset
from invdyn_ros.robots.registry import load_plant
from invdyn_ros.sources.excitation.motion_player import NOT_DRIVEN, TO_START, MotionPlayer
from invdyn_ros.sources.inspection.collected_dataset import write_collection
from invdyn_ros.sources.played_motion import played_collection

CHECKPOINT = Path(__file__).parents[1] / "config" / "checkpoints" / "ur5"
SECONDS, SIZE = 1.5, 0.3  # [s], [rad] of the motion


def nod(arm):
    """Return a motion of all joints to one side and back, at rest at both ends."""
    w, time = 2 * np.pi / SECONDS, np.arange(round(SECONDS * arm.rate) + 1) / arm.rate
    wave = [1 - np.cos(w * time), w * np.sin(w * time), w * w * np.cos(w * time)]
    q, qd, qdd = (SIZE / 2 * np.outer(x, np.ones(arm.n)) for x in wave)
    ends = (0, len(time) - 1)
    return JointMotion(arm.name, arm.joint_names, arm.rate, arm.home + q, qd, qdd, ends, 1.0, 0.0)


def test_arm_moves_to_the_start_then_along_the_motion_and_is_recorded(tmp_path):
    arm = robot("ur5")
    motion, controller = nod(arm), load_controller(arm, str(CHECKPOINT)).controller
    player, reasons = MotionPlayer(motion), []
    with Simulation(arm, load_plant("ur5")) as simulation:
        simulation.reset(0, arm.home + 0.05)
        for tick in range(2000):
            sample = simulation.state()
            controller.set_target(player.update(*sample[:4]))
            reasons.append(player.hold_reason)
            if tick == 20:
                controller.engage(True)
            command = controller.update(MeasuredState(*sample[:4]))
            if command.desired is not None:
                player.set_planned(sample.time, command.desired.q)
            simulation.step(command.action)
            if player.is_over:
                break
    assert list(dict.fromkeys(reasons)) == [NOT_DRIVEN, TO_START, None]
    collection = played_collection(player, arm, "N m")
    (recorded,) = collection.result.trajectories
    lines = "\n".join(write_collection(tmp_path / "data", collection))
    assert "125 Hz" in lines and "elbow_joint" in lines and "suspicion" not in lines
    np.testing.assert_allclose(recorded.position[: len(motion.q)], motion.q, atol=0.01)
    (stored,), info = read_dataset(tmp_path / "data")
    assert info.action_unit == "N m" and len(stored) == len(recorded)


def test_a_stop_on_the_way_ends_the_motion():
    arm = robot("ur5")
    player, still = MotionPlayer(nod(arm)), np.zeros(arm.n)
    for tick in range(1000):
        player.set_planned(tick / arm.rate, arm.home)
        player.update(tick / arm.rate, arm.home, still, still)
        if player.hold_reason is None:
            break
    with pytest.raises(ValueError, match="the arm stopped during the motion"):
        player.update(tick / arm.rate + 0.3, arm.home, still, still)
