import dataclasses
import importlib
import inspect
import re
import socket
from pathlib import Path

import cv2
import numpy as np
import pytest
from arm_state_models import bridge
from graph_specs import make_checkpoint, nodes, resolve, write_still_motion

from invdyn_ros.graph.composition import COMPOSED
from invdyn_ros.graph.graph import GRAPHS
from invdyn_ros.graph.launcher import command
from invdyn_ros.graph.topics import MARKERS
from invdyn_ros.models.timeseries.registry import save_time_series_model
from invdyn_ros.nodes.camera import CameraNodeConfig
from invdyn_ros.nodes.pose import PoseNodeConfig
from invdyn_ros.nodes.retarget import RetargetNodeConfig
from invdyn_ros.perception.calibration_file import to_calibration_yaml
from invdyn_ros.perception.camera import CameraConfig
from invdyn_ros.perception.camera_intrinsics import CameraIntrinsics
from invdyn_ros.robots.registry import SHIPPED
from invdyn_ros.robots.robot import ROBOTS
from invdyn_ros.teleop.pose import PoseEstimatorConfig
from invdyn_ros.teleop.retarget_config import RetargetConfig

PERSON = Path(__file__).parents[2] / "shared" / "data" / "teleop" / "person.mp4"
GRASPING = [arm for arm in SHIPPED if ROBOTS[arm].gripper]


@pytest.fixture
def checkpoint(tmp_path):
    return make_checkpoint(tmp_path, "ur5", "N m")


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
        ({"arm": "ur5e"}, "is a motion of 'ur5', not of 'ur5e'; give that arm"),
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


def test_real_arm_grasps_with_a_calibrated_usb_camera(tmp_path, capsys):
    info = tmp_path / "lens.yaml"
    camera_matrix = np.array([[900.0, 0, 639.5], [0, 900.0, 359.5], [0, 0, 1]])
    lens = CameraIntrinsics(camera_matrix, width=1280, height=720)
    info.write_text(to_calibration_yaml(lens, "webcam"))
    values = {"arm": "dofbot", "target": "real", "camera": "2", "camera_info": str(info)}
    values["checkpoint"] = make_checkpoint(tmp_path, "dofbot", "rad")
    resolved = nodes("grasp_sim", **values)
    assert (resolved["camera"]["camera"], resolved["camera"]["camera_info"]) == (2, str(info))
    assert resolved["camera"]["max_size"] == 1280 and "scene_camera" not in resolved
    assert "camera_pose is not given" in capsys.readouterr().err
    assert "camera" not in nodes("grasp_sim", **values | {"camera": "", "camera_info": ""})


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


def test_target_rate_in_lockstep_is_the_frame_rate_of_the_video(checkpoint, tmp_path):
    video = tmp_path / "grey.mp4"
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter_fourcc(*"mp4v"), 25, (64, 48))
    for _ in range(5):
        writer.write(np.full((48, 64, 3), 90, np.uint8))
    writer.release()
    resolved = nodes("teleop", video=str(video), lockstep="true", checkpoint=checkpoint)
    assert resolved["camera"]["video"] == resolved["report"]["video"] == str(video)
    assert "camera" not in resolved["camera"]
    assert resolved["inverse_dynamics"]["target_rate"] == pytest.approx(25)


@pytest.mark.parametrize("arm", SHIPPED)
@pytest.mark.parametrize("graph", GRAPHS)
def test_every_arm_has_a_checkpoint_in_simulation(graph, arm, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
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


def test_state_predictor_of_the_arm_is_located_from_any_folder(checkpoint, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for arm in ("ur5", "dofbot"):
        save_time_series_model(bridge(arm), arm)
    resolved = nodes("teleop", checkpoint=checkpoint, state_predictor="ur5")["inverse_dynamics"]
    assert resolved["state_predictor"] == str(tmp_path / "ur5")
    assert "state_predictor" not in nodes("teleop", checkpoint=checkpoint)["inverse_dynamics"]
    with pytest.raises(ValueError, match="is of joint_1"):
        nodes("teleop", checkpoint=checkpoint, state_predictor="dofbot")


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
