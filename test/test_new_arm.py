"""A new arm needs one entry in the table and one URDF file, and nothing else."""

import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import yaml
from invdyn_ros.robots.user_arms import ARMS_VARIABLE, read_user_arms

from invdyn_ros.arms.pybullet_simulation import Simulation
from invdyn_ros.robots.driver import shipped_driver
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

from invdyn_ros.graph.graph import resolve

checkpoint, driver = sys.argv[1:]
nodes = resolve("teleop", {"arm": "made_up", "checkpoint": checkpoint})
assert all(dict(n.parameters).get("arm", "made_up") == "made_up" for n in nodes)
print(*(node.name for node in nodes))
values = {"arm": "made_up", "target": "real", "checkpoint": checkpoint, "driver": driver}
print(*(node.name for node in resolve("teleop", values)))

from dataclasses import replace

from invdyn_ros.robots.registry import ROBOTS

spec, urdf = ROBOTS["ur5"], ROBOTS["made_up"].urdf
ROBOTS["made_up"] = replace(spec, urdf=urdf, grasp=replace(spec.grasp, env_name="MadeUp"))

import gymnasium

import invdyn_ros.grasp.envs.registration

print(*(node.name for node in resolve("grasp_sim", {"arm": "made_up", "checkpoint": checkpoint})))
print(gymnasium.spec("invdyn_ros/GraspMadeUp-v0").kwargs["arm"])
"""


def arms_file(folder, **changes):
    """Write the file of a user's arms."""
    ur5 = ROBOTS["ur5"]
    fields = ("joint_names", "tip_link", "home", "rate", "acceleration")
    values = {name: getattr(ur5, name) for name in fields}
    values = {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}
    file = folder / "arms.yaml"
    file.write_text(yaml.safe_dump({ARM: values | {"urdf": "made_up.urdf"} | changes}))
    return file


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ur5: {}", "'ur5' cannot be the name of an arm"),
        ("my_arm: {rate: 0.0}", "my_arm"),
        ("my_arm: 3", "expected fields of UserArm"),
        ("- a", "expected 'key: value' lines"),
    ],
)
def test_wrong_file_of_arms_is_one_line(tmp_path, text, message):
    file = tmp_path / "arms.yaml"
    file.write_text(text)
    with pytest.raises(ValueError, match=message) as info:
        read_user_arms(str(file), ROBOTS)
    assert "\n" not in str(info.value) and "arms.yaml" in str(info.value)


def test_launch_files_and_environments_offer_an_arm_of_the_user(urdf, tmp_path):
    """The lists of arms are made at import, so the arm is added in a process of its own."""
    arms = arms_file(tmp_path)
    checkpoint = tmp_path / "checkpoint"
    checkpoint.mkdir()
    (checkpoint / "meta.json").write_text('{"robot": "made_up", "action_unit": "rad"}')
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(checkpoint), shipped_driver("forward_controller")],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), ARMS_VARIABLE: str(arms)},
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    teleop, real, grasp_sim, arm = done.stdout.splitlines()
    assert "simulator" in teleop.split() and "scene_camera" in grasp_sim.split()
    assert "simulator" not in real.split() and "inverse_dynamics" in real.split()
    assert arm == ARM
