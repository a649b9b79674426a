"""A new arm needs one entry in the table and one URDF file, and nothing else."""

import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from invdyn_ros.arms.pybullet_simulation import Simulation
from invdyn_ros.robots.registry import ROBOTS, load_plant, load_scene
from invdyn_ros.robots.robot import load_robot

ARM = "made_up"


@pytest.fixture
def urdf(tmp_path):
    """The URDF of the UR5 with a heavier forearm, in a folder outside of the package."""
    text = load_robot("ur5").urdf.read_text()
    changed = text.replace('mass value="2.33"', 'mass value="4.0"')
    assert changed != text
    file = tmp_path / "made_up.urdf"
    file.write_text(changed)
    return file


@pytest.fixture
def robot(urdf, monkeypatch):
    monkeypatch.setitem(ROBOTS, ARM, replace(ROBOTS["ur5"], urdf=str(urdf)))
    return load_robot(ARM)


def test_a_new_arm_has_its_own_dynamics(robot):
    other, zero = load_robot("ur5"), np.zeros(6)
    torque = robot.inverse_dynamics(robot.home, zero, zero)
    assert np.abs(torque - other.inverse_dynamics(other.home, zero, zero)).max() > 1.0


def test_a_new_arm_is_simulated_and_driven(robot):
    with Simulation(robot, load_plant(ARM), unit="rad", scene=load_scene(ARM)) as simulation:
        target = robot.home + 0.1
        for _ in range(200):
            sample = simulation.step(target)
        assert np.abs(sample.q - target).max() < 0.02
        assert np.isfinite(simulation.block_pose()[0]).all()


SCRIPT = """
import sys
from dataclasses import replace

from invdyn_ros.robots.registry import ROBOTS

urdf, checkpoint = sys.argv[1:]
ROBOTS["made_up"] = replace(
    ROBOTS["ur5"], urdf=urdf, grasp=replace(ROBOTS["ur5"].grasp, env_name="MadeUp")
)

import gymnasium

import invdyn_ros.grasp.envs.registration
from invdyn_ros.graph.graph import resolve

for graph in ("teleop", "grasp_sim"):
    nodes = resolve(graph, {"arm": "made_up", "checkpoint": checkpoint})
    assert all(dict(n.parameters).get("arm", "made_up") == "made_up" for n in nodes)
    print(*(node.name for node in nodes))
real = resolve("teleop", {"arm": "made_up", "target": "real", "checkpoint": checkpoint})
assert "simulator" not in [node.name for node in real]
print(gymnasium.spec("invdyn_ros/GraspMadeUp-v0").kwargs["arm"])
"""


def test_launch_files_and_environments_offer_a_new_arm(urdf, tmp_path):
    """The lists of arms are made at import, so the arm is added in a process of its own."""
    checkpoint = tmp_path / "checkpoint"
    checkpoint.mkdir()
    (checkpoint / "meta.json").write_text('{"robot": "made_up", "action_unit": "rad"}')
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(urdf), str(checkpoint)],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    teleop, grasp_sim, arm = done.stdout.splitlines()
    assert "simulator" in teleop.split() and "scene_camera" in grasp_sim.split()
    assert arm == ARM
