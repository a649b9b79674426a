"""Blocks files: the shipped ones, and errors in one line with a remedy."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from graph_specs import resolve

from invdyn_ros.graph.block_checks import check_blocks_of_arm
from invdyn_ros.robots.blocks_file import read_blocks_file
from invdyn_ros.robots.registry import load_scene
from invdyn_ros.robots.robot import load_robot, package_file

ONE = {"name": "a", "markers": [0, 1, 2, 3, 4, 5]}


def write(folder: Path, values: dict[str, object]) -> Path:
    file = folder / "blocks.yaml"
    file.write_text(yaml.safe_dump({"blocks": [ONE]} | values))
    return file


@pytest.mark.parametrize("arm", ["ur5", "dofbot"])
def test_shipped_file_of_an_arm_is_its_scene(arm: str) -> None:
    default = load_scene(arm)
    scene = load_scene(arm, package_file(f"config/blocks/{arm}.yaml"))
    camera = scene.camera.T_base_camera
    np.testing.assert_allclose(camera, default.camera.T_base_camera, atol=1e-12)
    assert scene.markers == default.markers
    assert replace(scene, camera=default.camera, blocks=()) == default


@pytest.mark.parametrize(
    ("arm", "name"), [("ur5", "ur5_three"), ("ur5e", "ur5e_three"), ("dofbot", "dofbot_three")]
)
def test_shipped_blocks_are_reachable_and_in_view(arm: str, name: str) -> None:
    scene = load_scene(arm, package_file(f"config/blocks/{name}.yaml"))
    check_blocks_of_arm(load_robot(arm), scene, name)
    places = [block.goal for block in scene.all_blocks]
    places += [(x, y, scene.block_size / 2) for x in scene.area_x for y in scene.area_y]
    pixels, margin = scene.camera.project(np.array(places)), 40
    assert (pixels > margin).all()
    assert (pixels < np.array([scene.camera.width, scene.camera.height]) - margin).all()


def test_blocks_at_the_start_are_apart_from_each_other() -> None:
    scene = load_scene("ur5", package_file("config/blocks/ur5_three.yaml"))
    for seed in range(20):
        poses = scene.sample_block_poses(np.random.default_rng(seed))
        for i, j in ((0, 1), (0, 2), (1, 2)):
            assert np.linalg.norm(poses[i, :3, 3] - poses[j, :3, 3]) > 2 * scene.block_size


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"blocks": []}, "no blocks; give the markers of at least one"),
        ({"sizes": 0.04}, "unknown field 'sizes'; BlocksFile has blocks, dictionary, size"),
        ({"size": 40}, "size is 40; it must be less than or equal to 0.3"),
        ({"dictionary": "DICT_4X4"}, "no marker dictionary 'DICT_4X4'; known are DICT_4X4_50"),
        ({"blocks": [ONE | {"markers": [0]}]}, "block 'a': 1 markers; a block has 6 faces"),
        (
            {"blocks": [ONE | {"markers": [0, 1, 2, 3, 4, 50]}]},
            "block 'a': no marker 50 in DICT_4X4_50, which has 0 to 49",
        ),
        ({"blocks": [ONE, ONE | {"name": "b"}]}, "marker 0 is on 2 faces; each needs its own"),
        (
            {"blocks": [ONE, {"name": "a", "markers": [6, None, None, None, None, None]}]},
            "2 blocks with the name 'a'; give each its own",
        ),
        ({"grasp": "b"}, "grasp: no block 'b'; the blocks are a"),
        ({"area_x": [0.5, 0.4]}, r"area_x is \[0.5, 0.4\]; give the lower end first"),
        ({"blocks": [ONE | {"goal": [425, -165]}]}, "less than or equal to 5"),
    ],
)
def test_a_wrong_value_is_named_with_a_remedy(
    tmp_path: Path, values: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message) as error:
        read_blocks_file(write(tmp_path, values))
    assert "blocks.yaml" in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"blocks": [ONE | {"goal": [1.5, 0.0]}]}, "the goal of block 'a' at x 1.5, y 0.0 m is"),
        ({"area_y": [-2.0, 0.1]}, "a corner of the area at x 0.375, y -2.0 m is out of reach"),
        ({"size": 0.06}, "opens 0.085 m; it releases blocks of at most 0.0567 m"),
        ({"camera_pose": "no.yaml"}, "cannot read .*no.yaml"),
    ],
)
def test_blocks_that_an_arm_cannot_grasp_are_refused_before_any_node_starts(
    tmp_path: Path, values: dict[str, object], message: str
) -> None:
    file = write(tmp_path, values)
    with pytest.raises(ValueError, match=message):
        resolve("grasp_sim", {"blocks": str(file)})
