import dataclasses
import importlib
import inspect
import json
import os
import re
import socket
import tempfile
from pathlib import Path

import numpy as np
import pytest
from arm_state_models import bridge

from invdyn_ros.config import from_strings
from invdyn_ros.control.joint_motion import JointMotion
from invdyn_ros.graph import graph as graphs
from invdyn_ros.graph.arguments import given_arguments, launch_arguments
from invdyn_ros.graph.composition import COMPOSED
from invdyn_ros.graph.discovery import RANGE, open_network_warning
from invdyn_ros.graph.graph import GRAPHS, find_graph
from invdyn_ros.graph.launcher import command
from invdyn_ros.graph.topics import MARKERS
from invdyn_ros.graph.transport import FASTDDS_PROFILES
from invdyn_ros.models.timeseries.registry import save_time_series_model
from invdyn_ros.nodes.camera import CameraNodeConfig
from invdyn_ros.nodes.pose import PoseNodeConfig
from invdyn_ros.nodes.retarget import RetargetNodeConfig
from invdyn_ros.perception.camera import CameraConfig
from invdyn_ros.robots.registry import launchable_arms
from invdyn_ros.robots.robot import ROBOTS, load_robot
from invdyn_ros.teleop.pose import PoseEstimatorConfig
from invdyn_ros.teleop.retargeting import RetargetConfig

PERSON = Path(__file__).parents[2] / "shared" / "data" / "teleop" / "person.mp4"
GRASPING = [arm for arm in launchable_arms() if ROBOTS[arm].gripper]


def make_checkpoint(parent, arm, unit):
    folder = parent / f"{arm} {unit}"
    folder.mkdir(exist_ok=True)
    (folder / "meta.json").write_text(json.dumps({"robot": arm, "action_unit": unit}))
    return f"{folder}"


@pytest.fixture
def checkpoint(tmp_path):
    return make_checkpoint(tmp_path, "ur5", "N m")


def resolve(graph, values):
    """Resolve a graph; that which plays a motion gets one, and no duration."""
    if graph == "play_motion" and "motion" not in values:
        values = {name: value for name, value in values.items() if name != "duration"}
        file = Path(tempfile.mkdtemp()) / "motion.npz"
        write_still_motion(file, values.get("arm", "ur5"))
        values |= {"motion": str(file), "out": str(file.with_suffix(""))}
    return graphs.resolve(graph, values)


def write_still_motion(file, name):
    """Write a motion of an arm that stays at home, made for 0.5 m/s."""
    arm = load_robot(name)
    q, still = np.tile(arm.home, (3, 1)), np.zeros((3, arm.n))
    ends = (0, 2)
    JointMotion(name, arm.joint_names, arm.rate, q, still, still, ends, 0.5, 0.0).save(file)


def nodes(graph, **values):
    return {spec.name: dict(spec.parameters) for spec in resolve(graph, values)}


def test_simulated_teleop_has_its_nodes_and_parameters(checkpoint):
    resolved = nodes("teleop", checkpoint=checkpoint)
    names = ["camera", "pose", "retarget", "inverse_dynamics", "simulator"]
    assert list(resolved) == names, "nothing is to be reported"
    for argument in ({"report": "a.json"}, {"record": "new"}, {"duration": "3"}):
        assert [*nodes("teleop", checkpoint=checkpoint, **argument)] == [*names, "report"]
    assert resolved["camera"] == {"camera": 0, "max_size": 480, "loop": False, "lockstep": False}
    assert resolved["inverse_dynamics"] == {
        "arm": "ur5",
        "checkpoint": checkpoint,
        "device": "auto",
        "engaged": True,
        "lockstep": False,
        "simulated_time": False,
        "resume": True,
        "unsafe": False,
        "speed": 1.0,
        "tool_speed": 1.0,
    }
    assert resolved["simulator"]["wall_clock"] is True


@pytest.mark.parametrize("arm", GRASPING)
def test_headless_grasp_sim_runs_in_lockstep(arm, tmp_path):
    checkpoint = make_checkpoint(tmp_path, arm, "N m")
    resolved = nodes("grasp_sim", arm=arm, checkpoint=checkpoint, episodes="3", noise="hard")
    assert list(resolved)[:2] == ["simulator", "scene_camera"]
    assert (
        resolved["simulator"]["lockstep"] is True and resolved["simulator"]["wall_clock"] is False
    )
    assert resolved["report"]["episodes"] == 3 and resolved["grasp"]["lockstep"] is True
    real_time = nodes("grasp_sim", arm=arm, checkpoint=checkpoint, headless="false")
    assert (
        real_time["simulator"]["lockstep"] is False and real_time["simulator"]["headless"] is False
    )


def test_arm_floats_by_torques_alone():
    simulated = nodes("gravity_compensation")
    assert list(simulated) == ["push", "inverse_dynamics", "simulator"]
    assert simulated["inverse_dynamics"]["floating"] is True and simulated["push"]["push"] == 20.0
    assert "push" not in nodes("gravity_compensation", push="0")
    real = nodes("gravity_compensation", arm="ur5e", target="real")
    assert list(real) == ["inverse_dynamics"] and real["inverse_dynamics"]["engaged"] is False
    assert real["inverse_dynamics"]["checkpoint"].endswith("checkpoints/ur5e"), "takes torques"
    for values, message in (
        ({"arm": "dofbot"}, "needs torques"),
        ({"target": "real"}, "a real ur5 takes 'rad'"),
    ):
        with pytest.raises((ValueError, OSError), match=message):
            nodes("gravity_compensation", **values)


def test_motion_is_played_on_its_own_arm_at_an_allowed_speed(tmp_path):
    file = tmp_path / "motion.npz"
    write_still_motion(file, "ur5")
    values = {"motion": str(file), "out": str(tmp_path / "data")}
    simulated = nodes("play_motion", **values)
    assert list(simulated) == ["inverse_dynamics", "simulator", "motion_player"]
    assert simulated["simulator"]["lockstep"] is True
    real = nodes("play_motion", target="real", tool_speed="0.5", **values)
    assert list(real) == ["inverse_dynamics", "motion_player"]
    assert real["inverse_dynamics"]["engaged"] is False and not real["motion_player"].get("unit")
    for change, message in (
        ({"target": "real"}, "made for 0.5 m/s, the graph allows 0.25: give tool_speed:=0.5"),
        ({"arm": "kuka_iiwa"}, "is a motion of 'ur5'"),
        ({"motion": ""}, "needs motion:="),
        ({"record": str(tmp_path / "bag")}, "leave record:= out"),
        ({"effort_unit": "Nm"}, "effort_unit:=Nm is not one of"),
    ):
        with pytest.raises(ValueError, match=message):
            nodes("play_motion", **values | change)


def test_description_of_a_real_arm_is_published_when_asked_for():
    values = {"target": "real", "camera": "none", "tf_prefix": "left_"}
    assert "robot_state" not in nodes("teleop", **values)
    described = nodes("teleop", description="true", **values)["robot_state"]
    assert described == {"arm": "ur5", "tf_prefix": "left_"}
    assert "robot_state" not in nodes("teleop", camera="none", description="true")


def test_obstacles_are_those_of_all_nodes_and_checked_before_any_starts(checkpoint, tmp_path):
    file = tmp_path / "cell.yaml"
    file.write_text("boxes: [{name: wall, size: [0.1, 1, 1], position: [0.6, 0, 0.5]}]")
    for graph, names in (
        ("teleop", {"retarget", "inverse_dynamics", "simulator"}),
        ("grasp_sim", {"inverse_dynamics", "simulator"}),
    ):
        values = {"checkpoint": checkpoint, "speed": "0.5", "tool_speed": "0.3"}
        resolved = nodes(graph, obstacles=str(file), **values)
        assert {n for n, p in resolved.items() if p.get("obstacles") == str(file)} >= names
        assert resolved["inverse_dynamics"]["speed"] == 0.5
        assert resolved["inverse_dynamics"]["tool_speed"] == 0.3
        assert resolved["inverse_dynamics"]["simulated_time"] == (graph == "grasp_sim")
    for text, message in (("walls: []", "walls"), ("boxes: [{name: a}]", "size")):
        file.write_text(text)
        with pytest.raises(ValueError, match=message):
            nodes("teleop", checkpoint=checkpoint, obstacles=str(file))
    with pytest.raises((ValueError, OSError), match=r"none\.yaml"):
        nodes("teleop", checkpoint=checkpoint, obstacles="none.yaml")
    for argument in ({"speed": "0"}, {"speed": "1.1"}, {"tool_speed": "nan"}):
        with pytest.raises(ValueError, match=next(iter(argument))):
            nodes("teleop", checkpoint=checkpoint, **argument)


@pytest.mark.parametrize("graph", ["teleop", "grasp_sim"])
def test_real_arm_has_no_simulator_and_starts_disengaged(graph, tmp_path):
    dofbot, ur5e = (
        nodes(graph, arm=arm, target="real", checkpoint=make_checkpoint(tmp_path, arm, "rad"))
        for arm in ("dofbot", "ur5e")
    )
    assert "dofbot" in dofbot and "dofbot" not in ur5e
    for resolved in (dofbot, ur5e):
        assert not {"simulator", "scene_camera"} & set(resolved)
        assert resolved["inverse_dynamics"]["engaged"] is False
        assert resolved["inverse_dynamics"]["resume"] is False, "faults of a real arm stay"
    values = {"arm": "ur5e", "checkpoint": make_checkpoint(tmp_path, "ur5e", "rad")}
    assert ur5e["inverse_dynamics"]["tool_speed"] == 0.25
    assert ur5e["inverse_dynamics"]["simulated_time"] is False
    engaged = nodes(graph, target="real", engage="true", **values)
    assert engaged["inverse_dynamics"]["engaged"] is True


def test_camera_none_starts_no_camera_node(checkpoint):
    assert "camera" not in nodes("teleop", camera="none", checkpoint=checkpoint)


@pytest.mark.skipif(not PERSON.exists(), reason="the video of a person is missing")
@pytest.mark.parametrize("graph", GRAPHS)
def test_live_window_is_optional_and_its_port_is_checked_before_any_node_starts(graph, checkpoint):
    values = {"checkpoint": checkpoint, "view": "true"}
    *_, view, report = resolve(graph, {**values, "duration": "3"})
    assert view.executable == "view" and view.is_optional
    assert not report.is_optional and report.ends_graph
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(ValueError, match=f"view_port:={port}: .*; give another one"):
            resolve(graph, {**values, "view_port": str(port)})


@pytest.mark.parametrize("graph", ["teleop", "grasp_sim"])
def test_composed_graph_has_the_same_nodes_in_fewer_processes(graph, checkpoint):
    values = {"checkpoint": checkpoint}
    alone = {spec.name: spec for spec in resolve(graph, values)}
    composed = {spec.name: spec for spec in resolve(graph, {**values, "composed": "true"})}
    process = composed.pop(COMPOSED)
    assert len(process.composed) > 1 and composed.items() <= alone.items()
    assert {*composed, *process.composed} == alone.keys()
    assert not {"inverse_dynamics", "simulator", "report"} & {*process.composed}
    parameters = {}
    for name in process.composed:
        for key, value in alone[name].parameters.items():
            assert parameters.setdefault(key, value) == value, "nodes share the parameters"
    assert process.parameters == parameters


def test_nodes_of_one_process_take_only_their_own_parameters(checkpoint):
    """Otherwise a parameter of one node would change another one that has it, too."""
    configs = {
        "camera": (CameraConfig, CameraNodeConfig),
        "pose": (PoseEstimatorConfig, PoseNodeConfig),
        "retarget": (RetargetConfig, RetargetNodeConfig),
    }
    alone = nodes("teleop", checkpoint=checkpoint)
    given = {key for name in configs for key in alone[name]}
    for name, types in configs.items():
        fields = {field.name for cls in types for field in dataclasses.fields(cls)}
        assert fields & given == set(alone[name]), name


def test_target_rate_in_lockstep_is_the_frame_rate_of_the_video(checkpoint):
    resolved = nodes("teleop", video=str(PERSON), lockstep="true", checkpoint=checkpoint)
    assert resolved["camera"]["video"] == resolved["report"]["video"] == str(PERSON)
    assert "camera" not in resolved["camera"]
    assert 1 < resolved["inverse_dynamics"]["target_rate"] < 240


@pytest.mark.parametrize("arm", launchable_arms())
@pytest.mark.parametrize("graph", GRAPHS)
def test_every_arm_has_a_shipped_checkpoint(graph, arm):
    if graph == "grasp_sim" and arm not in GRASPING:
        pytest.skip(f"{arm} has no gripper")
    if graph == "gravity_compensation" and ROBOTS[arm].action_unit != "N m":
        pytest.skip(f"{arm} takes no torques")
    folder = Path(nodes(graph, arm=arm)["inverse_dynamics"]["checkpoint"])
    assert folder.is_dir() and folder.name == arm


@pytest.mark.parametrize("arm", ["ur5", "ur5e"])
def test_real_ur_arm_gets_the_checkpoint_with_position_actions(arm):
    resolved = nodes("teleop", arm=arm, target="real")
    assert Path(resolved["inverse_dynamics"]["checkpoint"]).name == f"{arm}_position"


def test_every_node_gets_the_ros_domain(checkpoint):
    specs = resolve("teleop", {"domain": "7", "checkpoint": checkpoint})
    assert {spec.environment["ROS_DOMAIN_ID"] for spec in specs} == {"7"}
    specs = resolve("teleop", {"checkpoint": checkpoint})
    assert not any("ROS_DOMAIN_ID" in spec.environment for spec in specs)


def test_nodes_are_found_on_this_machine_only_unless_told_otherwise(checkpoint, monkeypatch):
    monkeypatch.delenv("ROS_LOCALHOST_ONLY", raising=False)

    def limit(shell, **arguments):
        monkeypatch.delenv(RANGE, raising=False)
        if shell:
            monkeypatch.setenv(RANGE, shell)
        spec = resolve("teleop", {"checkpoint": checkpoint, **arguments})[0]
        environment = {**os.environ, **spec.environment}
        return environment[RANGE], open_network_warning(environment) is not None

    assert limit(None) == ("LOCALHOST", False)
    assert limit("SUBNET") == ("SUBNET", True)
    assert limit("SUBNET", discovery="localhost") == ("LOCALHOST", False)
    assert limit(None, discovery="subnet") == ("SUBNET", True)
    monkeypatch.setenv("ROS_SECURITY_ENABLE", "true")
    monkeypatch.setenv("ROS_SECURITY_STRATEGY", "Enforce")
    assert limit(None, discovery="subnet") == ("SUBNET", False)


def test_arguments_on_the_command_line_of_ros2_launch_are_checked_unless_it_is_included():
    file = Path("launch/teleop.launch.py")
    words = ["ros2", "launch", "invdyn_ros", file.name, "vidoe:=a.mp4", "--debug"]
    assert given_arguments(words, file) == {"vidoe": "a.mp4"}
    assert given_arguments([*words[:2], str(file.absolute()), "a:=b:=c"], file) == {"a": "b:=c"}
    assert given_arguments(["ros2", "launch", "other", file.name, "mine:=1"], file) == {}
    assert given_arguments(["pytest"], file) == {}


def test_shipped_fastdds_profile_is_the_default(checkpoint, monkeypatch):
    monkeypatch.delenv(FASTDDS_PROFILES, raising=False)
    specs = {spec.name: spec for spec in resolve("teleop", {"checkpoint": checkpoint})}
    files = {name: Path(spec.environment[FASTDDS_PROFILES]) for name, spec in specs.items()}
    assert "<segment_size>16777216<" in files["camera"].read_text()
    for name in ("simulator", "pose"):
        assert "<segment_size>1048576<" in files[name].read_text(), "it sends no images"
    arguments = {"checkpoint": checkpoint, "composed": "true"}
    (composed,) = (spec for spec in resolve("teleop", arguments) if spec.composed)
    assert composed.environment[FASTDDS_PROFILES] == str(files["camera"]), "it has the camera"
    monkeypatch.setenv(FASTDDS_PROFILES, "mine.xml")
    assert FASTDDS_PROFILES not in resolve("teleop", {"checkpoint": checkpoint})[0].environment


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
        ("teleop", {"camera": "front"}, "camera:=front is not the index"),
        ("teleop", {"camera": "-1"}, "camera:=-1 is not the index"),
        ("teleop", {"lockstep": "true"}, "lockstep:=true needs video:=FILE"),
        ("teleop", {"duration": "-1"}, "duration is '-1'; it must be greater than or equal to 0"),
        ("teleop", {"duration": "nan"}, "duration is 'nan'; it must be"),
        ("teleop", {"duration": "long"}, "duration is 'long'; it must be a valid number"),
        ("teleop", {"checkpoint": "no/such"}, "checkpoint:=no/such is neither a folder"),
        ("teleop", {"state_predictor": "no/such"}, "folder no/such"),
        ("teleop", {"report": "report.txt"}, "report:=report.txt is not a .json file"),
        ("teleop", {"record": "."}, "record:=. exists already"),
        ("teleop", {"view_port": "8080"}, "view_port:=8080 needs view:=true"),
        ("teleop", {"domain": "233"}, "domain is '233'; it must be less than or equal to 232"),
        ("teleop", {"arm": "kuka_iiwa", "target": "real"}, "no driver for a real kuka_iiwa"),
        ("grasp_sim", {"episodes": "0"}, "episodes is '0'; it must be greater than 0"),
        ("grasp_sim", {"episodes": "2.5"}, "episodes is '2.5'; it must be a valid integer"),
        ("grasp_sim", {"policy": "magic"}, "policy is 'magic'; it must be 'scripted', "),
        ("grasp_sim", {"target": "real", "lockstep": "true"}, "a real arm does not wait"),
    ],
)
def test_bad_input_is_one_line_before_any_node_starts(graph, values, message, checkpoint):
    if graph in GRAPHS:
        values = {"checkpoint": checkpoint, **values}
    with pytest.raises((ValueError, OSError)) as caught:
        resolve(graph, values)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_state_predictor_of_the_arm_is_located_from_any_folder(checkpoint, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for arm in ("ur5", "dofbot"):
        save_time_series_model(bridge(arm), arm)
    resolved = nodes("teleop", checkpoint=checkpoint, state_predictor="ur5")["inverse_dynamics"]
    assert resolved["state_predictor"] == str(tmp_path / "ur5")
    assert "state_predictor" not in nodes("teleop", checkpoint=checkpoint)["inverse_dynamics"]
    with pytest.raises(ValueError, match="is of joint_1"):
        nodes("teleop", checkpoint=checkpoint, state_predictor="dofbot")


@pytest.mark.parametrize("graph", GRAPHS)
def test_every_argument_has_a_description_and_a_valid_default(graph):
    arguments = find_graph(graph).arguments
    declared = list(launch_arguments(arguments))
    assert all(argument.description for argument in declared)
    (arm,) = [argument for argument in declared if argument.name == "arm"]
    assert f"{', '.join(launchable_arms())}, or FILE.yaml" in arm.description
    texts = {argument.name: argument.default for argument in declared}
    assert from_strings(arguments, texts, "defaults") == arguments()


def test_arm_without_gripper_is_refused_by_grasp_sim(tmp_path):
    checkpoint = make_checkpoint(tmp_path, "kuka_iiwa", "N m")
    with pytest.raises(ValueError, match="kuka_iiwa has no gripper; grasp_sim is for ur5"):
        resolve("grasp_sim", {"arm": "kuka_iiwa", "checkpoint": checkpoint})


def test_without_a_policy_grasp_sim_runs_in_real_time(checkpoint):
    manual = nodes("grasp_sim", checkpoint=checkpoint, policy="none")
    scripted = nodes("grasp_sim", checkpoint=checkpoint)
    assert scripted.keys() - manual.keys() == {"grasp"}
    assert scripted["simulator"]["lockstep"] and not manual["simulator"]["lockstep"]
    assert (
        manual["simulator"]["max_episode_seconds"] > 60 and "episode" not in scripted["simulator"]
    )
    waits = [nodes_of["simulator"]["wait_for_topics"].split() for nodes_of in (scripted, manual)]
    assert MARKERS in waits[0] and MARKERS not in waits[1]


@pytest.mark.parametrize("graph", GRAPHS)
def test_all_nodes_get_the_namespace_and_those_of_an_arm_its_prefix(graph, checkpoint, tmp_path):
    values = {"checkpoint": checkpoint, "namespace": "/cell/left", "tf_prefix": "left_"}
    specs = resolve(graph, values | {"camera_frame": "left_camera", "view": "true"})
    for spec in specs:
        assert spec.namespace == "cell/left"
        assert "__ns:=/cell/left" in command(spec, tmp_path)
        assert spec.parameters["tf_prefix"] == "left_", spec.name
    framed = {spec.name for spec in specs if spec.parameters.get("camera_frame") == "left_camera"}
    cameras = {"teleop": {"camera"}, "grasp_sim": {"scene_camera", "blocks", "grasp"}}
    assert framed == cameras.get(graph, set())


@pytest.mark.parametrize(
    ("name", "value"),
    [("namespace", v) for v in ("1st", "left/", "a//b", "x" * 300, "a b", "\u00e4rm", "~")]
    + [("tf_prefix", v) for v in ("/left_", "a b", "\u00e4")]
    + [("camera_frame", "\n")],
)
def test_names_that_ros_has_not_are_refused_with_an_example(checkpoint, name, value):
    with pytest.raises(ValueError, match=f"teleop: {name}: '.*' is not a .* as in left"):
        resolve("teleop", {"checkpoint": checkpoint, name: value})


@pytest.mark.parametrize("graph", GRAPHS)
def test_parameters_are_plain_ros_types(graph, checkpoint):
    for parameters in nodes(graph, checkpoint=checkpoint).values():
        assert {type(value) for value in parameters.values()} <= {bool, int, float, str}


TEMPLATES = {(graph, node.executable): node for graph in GRAPHS for node in GRAPHS[graph].nodes}


@pytest.mark.parametrize("key", TEMPLATES, ids="-".join)
def test_each_node_declares_the_parameters_it_gets(key):
    module = importlib.import_module(f"invdyn_ros.nodes.{key[1]}")
    configs = [item for name, item in vars(module).items() if name.endswith("Config")]
    declared = {field.name for config in configs for field in dataclasses.fields(config)}
    declared |= set(re.findall(r'declare_parameter\("(\w+)"', inspect.getsource(module)))
    assert callable(module.main)
    assert set(TEMPLATES[key].parameter_names) <= declared
