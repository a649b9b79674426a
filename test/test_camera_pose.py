"""Calibration file of a camera: written, handmade and invalid ones."""

from __future__ import annotations

import numpy as np
import pytest
from hand_eye_samples import NOISE, camera_errors, random_pairs

from invdyn_ros.perception.hand_eye.camera_pose import CameraPose, read_camera_pose, to_yaml
from invdyn_ros.perception.hand_eye.hand_eye_calibration import calibrate, to_camera_pose


def test_written_file_is_read_back_unchanged(tmp_path) -> None:
    pose = to_camera_pose(
        calibrate(random_pairs(0, noise=NOISE), "eye_to_hand"), "ur5", "eye_to_hand"
    )
    file = tmp_path / "camera.yaml"
    file.write_text(to_yaml(pose, "base_link"))
    read = read_camera_pose(file, "ur5")
    assert read == pose
    assert camera_errors(read.T)[0] < 4.0 and read.num_poses == 20
    assert 1e-3 < read.held_out[0] < 3e-3


def test_file_with_position_and_quaternion_only_is_read(tmp_path) -> None:
    file = tmp_path / "camera.yaml"
    file.write_text(
        "arm: ur5\nmounting: eye_to_hand\nposition: [1, 0, 0.5]\nquaternion: [1, 0, 0, 0]\n"
    )
    np.testing.assert_allclose(read_camera_pose(file, "ur5").T[:3], [
        [1, 0, 0, 1], [0, -1, 0, 0], [0, 0, -1, 0.5]
    ])  # fmt: skip


GOOD = CameraPose("ur5", "eye_to_hand", (1.0, 0.0, 0.5), (1.0, 0.0, 0.0, 0.0))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("arm: ur5", "arm: dofbot", "is the camera of 'dofbot', not of 'ur5'"),
        (
            "mounting: eye_to_hand",
            "mounting: wall",
            "mounting is 'wall'; it must be 'eye_to_hand' or 'eye_in_hand'",
        ),
        ("[1.0, 0.0, 0.5]", "[1000.0, 0.0, 0.5]", "it must be finite and in metres"),
        ("[1.0, 0.0, 0.5]", "[.nan, 0.0, 0.5]", "it must be a finite number"),
        ("[1.0, 0.0, 0.5]", "[1.0, 0.0]", "field 'position[2]' of CameraPose is missing"),
        ("[1.0, 0.0, 0.0, 0.0]", "[1.0, 1.0, 0.0, 0.0]", "norm 1.414; x, y, z, w need norm 1"),
        ("position:", "place:", "unknown field 'place'; CameraPose has arm, mounting, position"),
    ],
)
def test_invalid_file_is_refused_in_one_line(tmp_path, old, new, message) -> None:
    file = tmp_path / "camera.yaml"
    text = to_yaml(GOOD, "base_link")
    assert old in text
    file.write_text(text.replace(old, new))
    with pytest.raises(ValueError) as caught:
        read_camera_pose(file, "ur5")
    assert message in str(caught.value) and "\n" not in str(caught.value)
    assert file.name in str(caught.value)
