"""Static poses of an arm from joint states and detections."""

from __future__ import annotations

import numpy as np
import pytest
from hand_eye_samples import NOISE, X, Y, camera_errors, with_noise

from invdyn_ros.perception.hand_eye.least_squares import solve_hand_eye
from invdyn_ros.perception.hand_eye.pose_pairs import PosePairs
from invdyn_ros.perception.hand_eye.static_poses import (
    HandEyeStreams,
    StaticPoseConfig,
    StaticPoses,
    complete_covariances,
    find_static_poses,
)
from invdyn_ros.perception.rigid_transforms import invert_transform, transform_from_rotvec
from invdyn_ros.robots.robot import load_robot


def simulate_streams(
    configurations: list[np.ndarray], rate: float = 50.0, pause: float = 1.0, clock: float = 100.0
) -> HandEyeStreams:
    """Simulate an arm that moves between configurations and detects the marker at 10 Hz."""
    robot = load_robot("ur5")
    time, q = [], []
    for k, end in enumerate(configurations):
        start = configurations[max(k - 1, 0)]
        for s in np.concatenate([np.linspace(0, 1, int(rate)), np.ones(int(rate * pause))]):
            q.append(start + s * (end - start))
            time.append(clock + len(time) / rate)
    time, q = np.array(time), np.array(q)
    marker_time = np.arange(time[0], time[-1], 0.1)
    path = np.stack([np.interp(marker_time, time, column) for column in q.T], axis=1)
    arm = np.array([robot.forward_kinematics(row) for row in path])
    marker = invert_transform(X) @ arm @ Y
    return HandEyeStreams(time, q, marker_time, marker, np.zeros((len(marker_time), 6, 6)))


def random_configurations(n: int, seed: int = 0) -> list[np.ndarray]:
    home = load_robot("ur5").home
    return list(home + np.random.default_rng(seed).uniform(-0.6, 0.6, (n, home.size)))


def find_poses(streams: HandEyeStreams) -> StaticPoses:
    return find_static_poses(streams, load_robot("ur5"), StaticPoseConfig())


def test_each_static_pose_is_one_pair_and_images_in_motion_are_ignored() -> None:
    static = find_poses(simulate_streams(random_configurations(8)))
    assert len(static.pairs) == 8
    assert static.num_images < 8 * 10
    np.testing.assert_allclose(solve_hand_eye(static.pairs, "eye_to_hand").X, X, atol=1e-9)


def test_camera_latency_has_no_influence() -> None:
    streams = simulate_streams(random_configurations(8))
    delayed = find_poses(streams._replace(marker_time=streams.marker_time + 0.08))
    np.testing.assert_allclose(solve_hand_eye(delayed.pairs, "eye_to_hand").X, X, atol=1e-9)


def test_order_and_repetition_of_messages_have_no_influence() -> None:
    streams = simulate_streams(random_configurations(6))
    rng = np.random.default_rng(0)
    a, b = (
        rng.permutation(len(streams.joint_time)),
        rng.permutation(np.arange(2 * len(streams.marker_time))),
    )
    b %= len(streams.marker_time)
    shuffled = HandEyeStreams(
        streams.joint_time[a],
        streams.q[a],
        streams.marker_time[b],
        streams.T_camera_marker[b],
        streams.covariance[b],
    )
    np.testing.assert_allclose(
        find_poses(shuffled).pairs.T_base_tool, find_poses(streams).pairs.T_base_tool, atol=1e-12
    )


def test_flipped_detections_are_rejected() -> None:
    streams = simulate_streams(random_configurations(8))
    markers = streams.T_camera_marker.copy()
    markers[::7] = markers[::7] @ transform_from_rotvec(np.array([1.5, 0.0, 0.0]), np.zeros(3))
    noisy = with_noise(
        PosePairs.from_poses(markers, markers), (1e-4, 1e-3), np.random.default_rng(0)
    ).T_camera_marker
    static = solve_hand_eye(
        find_poses(streams._replace(T_camera_marker=noisy)).pairs, "eye_to_hand"
    )
    assert static.inliers.all()
    assert camera_errors(static.X)[0] < 1.0


def test_images_without_joint_states_are_ignored() -> None:
    streams = simulate_streams(random_configurations(6))
    part = streams.joint_time < streams.joint_time[0] + 4.5  # cuts the third static pose
    cut = find_poses(streams._replace(joint_time=streams.joint_time[part], q=streams.q[part]))
    assert len(cut.pairs) == 2
    pause = (streams.joint_time < 102.1) | (
        streams.joint_time > 103.9
    )  # no joint states at the second static pose
    interrupted = find_poses(
        streams._replace(joint_time=streams.joint_time[pause], q=streams.q[pause])
    )
    assert len(interrupted.pairs) == 5
    assert (
        len(find_poses(streams._replace(joint_time=streams.joint_time[:0], q=streams.q[:0])).pairs)
        == 0
    )


def test_missing_and_invalid_covariances_get_the_default() -> None:
    covariances = np.stack(
        [np.zeros((6, 6)), np.diag([4e-6] * 6), -np.eye(6), np.full((6, 6), np.nan)]
    )
    completed = complete_covariances(covariances)
    default = np.repeat(NOISE, 3) ** 2
    for k in (0, 2, 3):
        np.testing.assert_allclose(np.diag(completed[k]), default)
    assert (np.diag(completed[1]) >= 4e-6).all()


def test_settling_time_of_zero_is_refused() -> None:
    with pytest.raises(ValueError, match=r"settling_time is 0\.0; it must be greater than 0"):
        StaticPoseConfig(settling_time=0.0)
