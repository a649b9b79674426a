"""A new arm needs one entry in the table, or one file of a user, and its URDF."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pybullet_data
import pytest
import yaml

from invdyn_ros.arms.pybullet_simulation import Simulation
from invdyn_ros.cli.collect import main as collect
from invdyn_ros.data.dataset import read_dataset
from invdyn_ros.graph.graph import resolve
from invdyn_ros.grasp.envs.env_config import GraspEnvConfig
from invdyn_ros.models.nominal_checkpoint import simulation_checkpoint
from invdyn_ros.models.runtime import load_runtime
from invdyn_ros.robots.registry import REGISTERED, ROBOTS, load_plant, load_scene
from invdyn_ros.robots.robot import load_robot
from invdyn_ros.robots.urdf import load_urdf

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


DATA = Path(pybullet_data.getDataPath())
PANDA, IIWA = DATA / "franka_panda" / "panda.urdf", DATA / "kuka_iiwa" / "model.urdf"


@pytest.fixture
def arm_file(tmp_path, monkeypatch):
    """Function that writes the file of an arm, which is forgotten after the test."""
    before = dict(ROBOTS)
    monkeypatch.setenv(REGISTERED, "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def write(name="made_up", **fields):
        file = tmp_path / f"{name}.yaml"
        file.write_text(yaml.safe_dump(fields))
        return str(file)

    yield write
    ROBOTS.clear()
    ROBOTS.update(before)


def checkpoint_of(folder, arm):
    (folder / "meta.json").write_text(json.dumps({"robot": arm, "action_unit": "rad"}))
    return str(folder)


@pytest.mark.parametrize(
    ("name", "fields", "message"),
    [
        ("ur5", {"urdf": str(PANDA)}, "'ur5' is an arm of this package; write 'arm: ur5'"),
        ("mine", {"arm": "ur7"}, "arm is 'ur7'; an arm of this package is one of ur5, ur5e"),
        ("mine", {}, "it has no urdf; give one"),
        ("mine", {"urdf": str(PANDA), "rate": 0.0}, "rate is 0"),
        ("mine", {"urdf": "absent.urdf"}, "no URDF file"),
        ("mine", {"urdf": str(PANDA), "joint_names": ["a"]}, r"lacks the joints \['a'\]"),
        ("mine", {"urdf": str(PANDA), "tip_link": "b"}, "has no link 'b' for the tool"),
        ("mine", {"urdf": str(PANDA), "home": [0.0]}, "home has shape"),
    ],
)
def test_wrong_file_of_an_arm_is_one_line(arm_file, name, fields, message):
    with pytest.raises((ValueError, OSError), match=message) as info:
        load_robot(arm_file(name, **fields))
    assert "\n" not in str(info.value)


def test_arm_of_a_urdf_ends_where_its_fingers_begin(arm_file):
    robot = load_robot(arm_file(urdf=str(PANDA)))
    assert robot.joint_names == tuple(f"panda_joint{i}" for i in range(1, 8))
    assert (robot.name, robot.tip_link) == ("made_up", "panda_grasptarget")
    fields = {"joint_names": list(robot.joint_names[:6]), "velocity": [1.0] * 6}
    shorter = load_robot(arm_file(urdf=str(PANDA), **fields))
    assert shorter.n == 6 and (shorter.velocity == 1).all()
    assert shorter.tip_link == "panda_link6"


def test_file_of_an_arm_is_taken_wherever_its_name_is(arm_file, tmp_path, capsys):
    file = arm_file(urdf=str(IIWA), velocity=[10.0] * 6 + [11.0], obstacles={"table": False})
    words = ["sim", "--arm", file, "--minutes", "0.02", "--episode-seconds", "1.2"]
    assert collect([*words, "--candidates", "1", "--workers", "1", "--out", f"{tmp_path}/d"]) == 0
    assert read_dataset(tmp_path / "d").info.robot == "made_up"
    values = {"arm": file, "checkpoint": checkpoint_of(tmp_path, "made_up")}
    nodes = {spec.name: spec.parameters for spec in resolve("teleop", values)}
    assert nodes["simulator"]["arm"] == file and not ROBOTS["made_up"].obstacles.table
    assert "velocity of lbr_iiwa_joint_7 is 11, the URDF has 10" in capsys.readouterr().err
    real = {spec.name: spec.parameters for spec in resolve("teleop", values | {"target": "real"})}
    assert Path(str(real["inverse_dynamics"]["driver"])).stem == "forward_controller"


def test_urdf_replaces_that_of_an_arm_which_keeps_its_name_and_models(arm_file, urdf, tmp_path):
    def robot_of(**values):
        specs = {spec.name: spec.parameters for spec in resolve("teleop", values)}
        assert Path(str(specs["inverse_dynamics"]["checkpoint"])).name == "ur5"
        return load_robot(str(specs["retarget"]["arm"]))

    assert robot_of(arm="ur5", urdf=str(urdf)).urdf == urdf
    variant = arm_file("mine", arm="ur5", home=[0.1] * 6)
    assert robot_of(arm=variant).urdf == load_robot("ur5").urdf
    heavier = robot_of(arm=variant, urdf=str(urdf))
    assert (heavier.name, heavier.urdf, heavier.home[0]) == ("ur5", urdf, 0.1)
    assert GraspEnvConfig(arm=variant).arm == "ur5"
    # without the tool and the fingers of this package the arm ends where the URDF does
    bare = tmp_path / "bare.urdf"
    text = urdf.read_text()
    for name in ("tcp", "finger_left_joint", "finger_right_joint"):
        text = text.replace(f'"{name}"', f'"other_{name}"')
    bare.write_text(text)
    robot = load_robot("ur5", bare)
    ancestor, _ = load_urdf(bare).moving_ancestor(robot.tip_link, robot.joint_names)
    assert (ancestor, robot.gripper) == (robot.joint_names[-1], None)
    values = {"arm": "other", "urdf": str(urdf), "checkpoint": checkpoint_of(tmp_path, "other")}
    assert resolve("teleop", values)


def test_checkpoint_of_a_urdf_is_made_once_by_several_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    arm = load_robot("ur10")
    with ThreadPoolExecutor(4) as pool:
        folders = list(pool.map(lambda _: simulation_checkpoint(arm), range(4)))
    (folder,) = set(folders)
    assert load_runtime(folder, "cpu", arm).meta.action_unit == "N m"
    assert [path.name for path in folder.parent.iterdir()] == ["ur10"], "nothing else is left"
