"""Checks of URDF files: encodings, wrong elements, and what can be done with an arm."""

import shutil
import sys
from pathlib import Path

import numpy as np
import pybullet_data
import pytest

from invdyn_ros.arms.pybullet_simulation import Simulation
from invdyn_ros.cli import run_verb
from invdyn_ros.models.checkpoint import load
from invdyn_ros.robots import urdf_text
from invdyn_ros.robots.registry import REGISTERED, ROBOTS
from invdyn_ros.robots.robot import load_robot, package_file
from invdyn_ros.robots.robot_spec import Gripper
from invdyn_ros.training.dataset_arm import kept_arm, urdf_warning

JOINT = """
  <link name="{child}"><inertial><mass value="1"/>
    <inertia ixx="0.01" ixy="0" ixz="0" iyy="0.01" iyz="0" izz="0.01"/></inertial>{shape}</link>
  <joint name="{name}" type="{kind}"><parent link="{parent}"/><child link="{child}"/>
    <origin xyz="0 0 0.3" rpy="0 0 0"/><axis xyz="{axis}"/>
    <limit lower="-2" upper="2" velocity="2" effort="20"/></joint>"""
BOX = '<collision><geometry><box size="0.05 0.05 0.2"/></geometry></collision>'


@pytest.fixture(autouse=True)
def forget_arms(monkeypatch, tmp_path):
    """Forget the arms that a test has registered."""
    before = dict(ROBOTS)
    monkeypatch.setenv(REGISTERED, "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    yield
    ROBOTS.clear()
    ROBOTS.update(before)


def urdf_of(declaration="", robot="arm", **first):
    """Text of an arm of three joints; values of the first joint may be others."""
    joints = []
    for i, axis in enumerate(("0 0 1", "0 1 0", "0 1 0")):
        parent = f"link_{i - 1}" if i else "base"
        values = {"name": f"joint_{i}", "kind": "revolute", "parent": parent, "axis": axis}
        values |= {"child": f"link_{i}", "shape": BOX} | (first if not i else {})
        joints.append(JOINT.format(**values))
    return f'{declaration}<robot name="{robot}"><link name="base"/>{"".join(joints)}\n</robot>'


def check(path, capsys):
    code = run_verb("check_urdf", [str(path)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.mark.parametrize("encoding", ["iso-8859-1", "gb2312", "utf-16"])
def test_arm_is_read_and_simulated_in_every_declared_encoding(tmp_path, encoding):
    declaration = f'<?xml version="1.0" encoding="{encoding}"?>\n'
    note = "" if encoding == "gb2312" else "\u00fc"
    path = tmp_path / "arm.urdf"
    path.write_bytes(urdf_of(f"{declaration}<!-- {note} -->").encode(encoding))
    robot = load_robot("arm", path)
    assert robot.n == 3
    with Simulation(robot, unit="N m") as simulation:
        assert np.isfinite(simulation.step(np.zeros(3)).q).all()


def test_wrong_encoding_is_named_with_its_line(tmp_path):
    path = tmp_path / "arm.urdf"
    path.write_bytes(b"<!--\n" + urdf_of(robot="\u00fc").encode("latin-1").replace(b"\n", b""))
    with pytest.raises(ValueError, match=r"arm\.urdf: line 2 is not text in utf-8.*declare"):
        load_robot("arm", path)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"axis": "0 0 0"}, "line 5: the <axis> of joint 'joint_0' is zero; give its direction"),
        ({"axis": "0,0,1"}, "line 5: xyz of <axis> in joint 'joint_0' is '0,0,1', not a number"),
        ({"axis": "${x} 0 1"}, "run xacro on the file first"),
        ({"name": "joint_1"}, "joint 'joint_1' is given twice, first in line 4; rename one"),
        ({"name": ""}, "line 4: a <joint> has no name"),
        ({"child": "link_1"}, "link 'link_1' is given twice"),
        ({"parent": "absent"}, "line 4: joint 'joint_0' names the unknown link 'absent'"),
        ({"parent": "link_2"}, "not connected to the root link 'base'; add a joint"),
        ({"kind": "hinge"}, "joint 'joint_0' has type 'hinge'; use one of revolute"),
        ({"shape": BOX.replace('size="0.05 0.05 0.2"', "")}, "size of <box> in link 'link_0' is"),
        ({"shape": BOX.replace("<box", '<mesh filename="a.stl"')}, "'a.stl' does not exist"),
    ],
)
def test_error_names_line_element_and_remedy(tmp_path, capsys, changed, message):
    path = tmp_path / "arm.urdf"
    path.write_text(urdf_of(**changed))
    code, out, err = check(path, capsys)
    assert code == 2 and message in err, err
    if "simulate: yes" not in out and "does not exist" not in message:
        with pytest.raises(ValueError, match=r"arm\.urdf: ") as info:  # every other command
            load_robot("arm", path)
        assert message in str(info.value)


def test_arm_of_a_foreign_package_is_described_and_its_doubts_are_named(tmp_path, capsys):
    path = Path(pybullet_data.getDataPath()) / "franka_panda" / "panda.urdf"
    code, out, err = check(path, capsys)
    assert (code, err) == (0, "")
    assert "gripper: panda_finger_joint1, panda_finger_joint2, up to 80 mm" in out
    assert "line 255: link 'panda_leftfinger' has 0.1 kg and 0.1 kg m2" in out
    for name in ("train", "simulate", "teleop", "grasp_sim"):
        assert f"{name}: yes" in out
    slow = urdf_of().replace('lower="-2" upper="2"', 'lower="-120" upper="120"')
    degrees = tmp_path / "degrees.urdf"
    degrees.write_text(slow)
    _, out, _ = check(degrees, capsys)
    assert "joint 'joint_0' has limits from -120 to 120 rad" in out
    assert "grasp_sim: no, it has no gripper" in out


def test_xacro_file_is_expanded_or_says_what_to_install(tmp_path, monkeypatch):
    path = tmp_path / "arm.urdf.xacro"
    path.write_text(urdf_of())
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(urdf_text.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="xacro is not installed; install xacro"):
        load_robot("arm", path)
    program = tmp_path / "xacro"
    program.write_text(f"#!{sys.executable}\nimport sys\nprint(open(sys.argv[1]).read())\n")
    program.chmod(0o755)
    assert load_robot("arm", path).n == 3
    program.write_text(f"#!{sys.executable}\nraise SystemExit('no package')\n")
    with pytest.raises(ValueError, match="xacro cannot expand it: no package"):
        load_robot("arm", path)


def test_dataset_keeps_the_urdf_that_it_was_collected_with(tmp_path, capsys):
    urdf, data, models = tmp_path / "arm.urdf", tmp_path / "data", tmp_path / "model"
    urdf.write_text(urdf_of())
    words = ["sim", "--urdf", urdf, "--minutes", 0.04, "--episode-seconds", 1.2, "--candidates", 1]
    assert run_verb("collect", [str(w) for w in (*words, "--workers", 1, "--out", data)]) == 0
    train = ["--config", "rigid_body", "--data", str(data), "--overwrite", "--out"]
    urdf.write_text(urdf_of().replace('effort="20"', 'effort="30"'))
    assert run_verb("train", [*train, str(models)]) == 0
    captured = capsys.readouterr()
    assert "rigid_body for arm" in captured.out and 'effort="20.0"' in load(models).meta.urdf
    assert f"warning: {urdf} has changed since {data} was collected" in captured.err
    urdf.unlink()
    assert "no longer there; its copy" in urdf_warning(data)
    again, other = tmp_path / "again", tmp_path / "other"
    assert run_verb("collect", ["dataset", str(data), "--out", str(again)]) == 0
    assert "position [rad] (limits)" in capsys.readouterr().out
    assert kept_arm(again) == kept_arm(data)
    shutil.copytree(data, other)
    info = other / "meta" / "info.json"
    info.write_text(info.read_text().replace('effort=\\"20', 'effort=\\"25'))
    words = ["dataset", str(data), str(other), "--out", str(tmp_path / "both")]
    assert run_verb("collect", words) == 2
    assert "collected with different URDFs of 'arm'" in capsys.readouterr().err
    other = str(package_file("config/checkpoints/ur5"))
    words = ["--checkpoint", other, "--data", str(data), "--out", str(tmp_path / "labelled")]
    assert run_verb("label", words) == 2
    assert "is of 'arm', the model of 'ur5'" in capsys.readouterr().err
    words = ["--checkpoint", str(models), "--arm", "ur5", "--out", str(tmp_path / "a.onnx")]
    assert run_verb("export", words) == 2
    assert "was trained for 'arm' with joints joint_0" in capsys.readouterr().err


def test_fingers_turn_between_the_positions_of_their_file(tmp_path):
    gripper = Gripper(("a", "b"), 0.08, closed=(0.8, -0.8), open=(0.0, 0.0))
    assert gripper.positions(0.02) == pytest.approx([0.6, -0.6])
    assert gripper.opening([0.6, -0.6]) == pytest.approx(0.02)
    assert Gripper(("a", "b"), 0.08).positions(0.02) == [0.01, 0.01]
