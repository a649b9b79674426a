"""Arguments of graphs: described, with valid defaults, and refused in one line."""

from pathlib import Path

import pytest
from graph_specs import make_checkpoint, resolve

from invdyn_ros.config import from_strings
from invdyn_ros.graph.graph import GRAPHS, find_graph
from invdyn_ros.graph.launch_arguments import given_arguments, launch_arguments
from invdyn_ros.robots.registry import SHIPPED


@pytest.fixture
def checkpoint(tmp_path):
    return make_checkpoint(tmp_path, "ur5", "N m")


def test_arguments_on_the_command_line_of_ros2_launch_are_checked_unless_it_is_included():
    file = Path("launch/teleop.launch.py")
    words = ["ros2", "launch", "invdyn_ros", file.name, "vidoe:=a.mp4", "--debug"]
    assert given_arguments(words, file) == {"vidoe": "a.mp4"}
    assert given_arguments([*words[:2], str(file.absolute()), "a:=b:=c"], file) == {"a": "b:=c"}
    assert given_arguments(["ros2", "launch", "other", file.name, "mine:=1"], file) == {}
    assert given_arguments(["pytest"], file) == {}


def test_wrong_checkpoint_is_refused_before_any_node_starts(tmp_path):
    other = make_checkpoint(tmp_path, "dofbot", "rad")
    with pytest.raises(ValueError, match="was trained for 'dofbot', not for 'ur5'"):
        resolve("teleop", {"checkpoint": other})
    torque = make_checkpoint(tmp_path, "ur5", "N m")
    with pytest.raises(ValueError, match="has actions in 'N m'; a real ur5 takes 'rad'"):
        resolve("teleop", {"checkpoint": torque, "target": "real"})
    for text in ("no JSON", "[]", "{}"):
        Path(torque, "meta.json").write_text(text)
        with pytest.raises(ValueError, match=r"is not the meta\.json of a checkpoint"):
            resolve("teleop", {"checkpoint": torque})
    Path(torque, "meta.json").unlink()
    with pytest.raises(ValueError, match=r"has no meta\.json; 'invdyn train' writes one"):
        resolve("teleop", {"checkpoint": torque})


@pytest.mark.parametrize(
    ("graph", "values", "message"),
    [
        ("telop", {}, "no graph 'telop'; there are teleop, grasp_sim"),
        (
            "teleop",
            {"vidoe": "a.mp4"},
            "unknown field 'vidoe'; TeleopArguments has arm, urdf",
        ),
        ("teleop", {"episodes": "3"}, "unknown field 'episodes'"),
        ("teleop", {"arm": "ur3"}, "unknown arm 'ur3'; known arms are ur5, ur5e"),
        ("teleop", {"headless": "maybe"}, "headless is 'maybe'; it must be a valid boolean"),
        ("teleop", {"video": "no.mp4"}, "no.mp4"),
        ("teleop", {"video": "a.mp4", "camera": "0"}, "are both given; give one"),
        ("teleop", {"pose_model": "no.task"}, "pose_model:=no.task is not a file"),
        ("teleop", {"camera": "front"}, "camera:=front is not the index of a camera"),
        ("teleop", {"camera": "-1"}, "camera:=-1 is not the index"),
        ("teleop", {"lockstep": "true"}, "lockstep:=true needs video:=FILE"),
        ("teleop", {"duration": "-1"}, "duration is '-1'; it must be greater than or equal"),
        ("teleop", {"duration": "nan"}, "duration is 'nan'; it must be"),
        ("teleop", {"duration": "long"}, "duration is 'long'; it must be a valid number"),
        ("teleop", {"checkpoint": "no/such"}, "checkpoint:=no/such is neither a folder"),
        ("teleop", {"state_predictor": "no/such"}, "folder no/such"),
        ("teleop", {"report": "report.txt"}, "report:=report.txt is not a .json file"),
        ("teleop", {"record": "."}, "record:=. exists already"),
        ("teleop", {"view_port": "8080"}, "view_port:=8080 needs view:=true"),
        ("teleop", {"domain": "233"}, "domain is '233'; it must be less than or equal to 232"),
        ("teleop", {"arm": "kuka_iiwa", "target": "real"}, "no driver for a real kuka_iiwa"),
        (
            "grasp_sim",
            {"episodes": "-1"},
            "episodes is '-1'; it must be greater than or equal to 0",
        ),
        ("grasp_sim", {"episodes": "2.5"}, "episodes is '2.5'; it must be a valid integer"),
        ("grasp_sim", {"policy": "magic"}, "policy is 'magic'; it must be 'scripted', "),
        ("grasp_sim", {"target": "real", "lockstep": "true"}, "a real arm does not wait"),
        ("grasp_sim", {"camera": "0"}, "camera:=0 needs target:=real; a simulated arm has its"),
        (
            "grasp_sim",
            {"arm": "dofbot", "target": "real", "camera": "0", "checkpoint": ""},
            "camera:=0 needs camera_info:=FILE.yaml of 'invdyn calibrate camera'",
        ),
    ],
)
def test_bad_input_is_one_line_before_any_node_starts(graph, values, message, checkpoint):
    if graph in GRAPHS:
        values = {"checkpoint": checkpoint, **values}
    with pytest.raises((ValueError, OSError)) as caught:
        resolve(graph, values)
    assert message in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("graph", GRAPHS)
def test_every_argument_has_a_description_and_a_valid_default(graph):
    arguments = find_graph(graph).arguments
    declared = list(launch_arguments(arguments))
    assert all(argument.description for argument in declared)
    (arm,) = [argument for argument in declared if argument.name == "arm"]
    assert f"{', '.join(SHIPPED)}, or FILE.yaml" in arm.description
    texts = {argument.name: argument.default for argument in declared}
    assert from_strings(arguments, texts, "defaults") == arguments()


def test_arm_without_gripper_is_refused_by_grasp_sim(tmp_path):
    checkpoint = make_checkpoint(tmp_path, "kuka_iiwa", "N m")
    with pytest.raises(ValueError, match="kuka_iiwa has no gripper; grasp_sim is for ur5"):
        resolve("grasp_sim", {"arm": "kuka_iiwa", "checkpoint": checkpoint})


@pytest.mark.parametrize(
    ("name", "value"),
    [("namespace", v) for v in ("1st", "left/", "a//b", "x" * 300, "a b", "\u00e4rm", "~")]
    + [("tf_prefix", v) for v in ("/left_", "a b", "\u00e4")]
    + [("camera_frame", "\n")],
)
def test_names_that_ros_has_not_are_refused_with_an_example(checkpoint, name, value):
    with pytest.raises(ValueError, match=f"teleop: {name}: '.*' is not a .* as in left"):
        resolve("teleop", {"checkpoint": checkpoint, name: value})
