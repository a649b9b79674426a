"""Hand-eye calibration from poses of the arm and of a marker."""

from __future__ import annotations

import numpy as np
import pytest
from hand_eye_samples import NOISE, X, Y, camera_errors, random_pairs, with_noise
from scipy.stats import chi2

from invdyn_ros.perception.hand_eye.closed_form import solve_closed_form
from invdyn_ros.perception.hand_eye.hand_eye_calibration import calibrate, residual_norms
from invdyn_ros.perception.hand_eye.least_squares import held_out_residuals, solve_hand_eye
from invdyn_ros.perception.hand_eye.pose_diversity import PoseDiversity, axis_name
from invdyn_ros.perception.hand_eye.pose_pairs import MOUNTINGS, Mounting, PosePairs
from invdyn_ros.perception.rigid_transforms import (
    invert_transform,
    pose_difference,
    transform_from_rotvec,
)


@pytest.mark.parametrize("mounting", MOUNTINGS)
def test_solution_is_exact_without_noise(mounting: Mounting) -> None:
    for seed in range(5):
        solution = solve_hand_eye(random_pairs(seed, n=8, mounting=mounting), mounting)
        np.testing.assert_allclose(solution.X, X, atol=1e-9)
        np.testing.assert_allclose(solution.Y, Y, atol=1e-9)
        assert solution.inliers.all()


@pytest.mark.parametrize("mounting", MOUNTINGS)
def test_closed_form_is_exact_without_noise(mounting: Mounting) -> None:
    pairs = random_pairs(3, mounting=mounting)
    initial = solve_closed_form(pairs.motion(mounting), pairs.T_camera_marker)
    np.testing.assert_allclose(initial, (X, Y), atol=1e-9)


def test_camera_pose_is_equivariant_to_the_base_frame() -> None:
    pairs = random_pairs(0, noise=NOISE)
    other = transform_from_rotvec(np.array([0.5, 2.0, -0.3]), np.array([3.0, -1.0, 0.5]))
    moved_pairs = PosePairs(other @ pairs.T_base_tool, pairs.T_camera_marker, pairs.covariance)
    first, second = (
        solve_hand_eye(pairs, "eye_to_hand"),
        solve_hand_eye(moved_pairs, "eye_to_hand"),
    )
    np.testing.assert_allclose(second.X, other @ first.X, atol=1e-8)
    rotation = np.kron(np.eye(2), other[:3, :3])
    np.testing.assert_allclose(
        second.covariance, rotation @ first.covariance @ rotation.T, rtol=1e-3
    )


def test_camera_pose_is_invariant_to_the_marker_frame() -> None:
    pairs = random_pairs(0, noise=NOISE)
    other = transform_from_rotvec(np.array([0.5, -1.0, 0.3]), np.zeros(3))
    rotated_pairs = PosePairs(pairs.T_base_tool, pairs.T_camera_marker @ other, pairs.covariance)
    np.testing.assert_allclose(
        solve_hand_eye(rotated_pairs, "eye_to_hand").X,
        solve_hand_eye(pairs, "eye_to_hand").X,
        atol=1e-8,
    )


@pytest.mark.parametrize("mounting", MOUNTINGS)
def test_error_is_within_a_millimetre_and_a_tenth_of_a_degree(mounting: Mounting) -> None:
    """With 20 poses at the corners of the view and noise of 1 mm and 0.5 deg per axis."""
    solution = []
    for seed in range(40):
        pairs = random_pairs(seed, mounting=mounting)
        corners = 0.2 * np.sign(pairs.T_camera_marker[:, :3, 3] - [0, 0, 0.7]) + [0, 0, 0.7]
        marker = pairs.T_camera_marker.copy()
        marker[:, :3, 3] = corners
        motion = X @ marker @ invert_transform(Y)
        arm = motion if mounting == "eye_to_hand" else invert_transform(motion)
        exact = PosePairs.from_poses(arm, marker)
        noisy = with_noise(exact, NOISE, np.random.default_rng(1000 + seed))
        solution.append(camera_errors(solve_hand_eye(noisy, mounting).X))
    distance, angle = np.median(solution, axis=0)
    assert distance < 1.0 and angle < 0.1


def test_covariance_matches_the_size_of_camera_errors() -> None:
    """The squared error in standard deviations is six on average, and 95% are in the ellipsoid."""
    squares = []
    for seed in range(80):
        solution = solve_hand_eye(random_pairs(seed, noise=NOISE), "eye_to_hand")
        error = pose_difference(solution.X[None], X[None])[0]
        squares.append(error @ np.linalg.solve(solution.covariance, error))
    assert 4.5 < np.mean(squares) < 8.0
    assert np.mean(np.array(squares) < chi2.ppf(0.95, 6)) > 0.85


def test_noise_scales_of_positions_and_rotations_are_estimated() -> None:
    scales = [
        solve_hand_eye(
            random_pairs(seed, noise=(3e-3, np.radians(0.25))), "eye_to_hand"
        ).noise_scale
        for seed in range(10)
    ]
    np.testing.assert_allclose(np.mean(scales, axis=0), (3.0, 0.5), rtol=0.15)


def test_precise_detections_have_more_weight() -> None:
    rng, unweighted, weighted = np.random.default_rng(0), [], []
    for seed in range(20):
        pairs = random_pairs(seed)
        noise_factor = np.where(np.arange(20) % 2, 0.2, 4.0)[:, None, None]
        noisy = with_noise(pairs, NOISE, rng)
        error = pose_difference(noisy.T_camera_marker, pairs.T_camera_marker) * noise_factor[:, 0]
        marker = pairs.T_camera_marker.copy()
        marker[:, :3, 3] += error[:, :3]
        marker[:, :3, :3] = (
            transform_from_rotvec(error[:, 3:], error[:, :3])[:, :3, :3] @ marker[:, :3, :3]
        )
        unweighted.append(
            camera_errors(
                solve_hand_eye(PosePairs.from_poses(pairs.T_base_tool, marker), "eye_to_hand").X
            )[0]
        )
        known_noise = PosePairs(pairs.T_base_tool, marker, pairs.covariance * noise_factor**2)
        weighted.append(camera_errors(solve_hand_eye(known_noise, "eye_to_hand").X)[0])
    assert np.median(weighted) < 0.7 * np.median(unweighted)


def test_outliers_are_rejected() -> None:
    for seed in range(5):
        pairs = random_pairs(seed, noise=NOISE)
        wrong = [2, 7, 11, 16]
        marker = pairs.T_camera_marker.copy()
        marker[wrong] = marker[wrong] @ transform_from_rotvec(
            np.array([0.0, 1.4, 0.3]), np.array([0, 0, 0.03])
        )
        solution = solve_hand_eye(
            PosePairs(pairs.T_base_tool, marker, pairs.covariance), "eye_to_hand"
        )
        assert np.flatnonzero(~solution.inliers).tolist() == wrong
        without = np.ones(20, bool)
        without[wrong] = False
        np.testing.assert_allclose(
            solution.X, solve_hand_eye(pairs[without], "eye_to_hand").X, atol=1e-5
        )


def test_held_out_residual_is_the_noise_and_exceeds_the_fitted_one() -> None:
    out, fitted = [], []
    for seed in range(10):
        pairs = random_pairs(seed, noise=NOISE)
        out.append(residual_norms(held_out_residuals(pairs, "eye_to_hand")) ** 2)
        fitted.append(residual_norms(calibrate(pairs, "eye_to_hand").residual) ** 2)
    noise = np.sqrt(3) * np.array(NOISE)
    ratio = np.sqrt(np.mean(out, axis=(0, 1))) / noise
    assert (ratio > 1.0).all() and (ratio < 1.4).all()
    assert (np.sqrt(np.mean(fitted, axis=(0, 1))) < noise).all()


@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize("mounting", MOUNTINGS)
def test_rotations_about_one_axis_are_refused_with_its_name(axis: int, mounting: Mounting) -> None:
    pairs = random_pairs(0, axes=(axis,), noise=NOISE)
    with pytest.raises(ValueError) as caught:
        calibrate(pairs, mounting)
    other_axes = " or ".join(name for k, name in enumerate("xyz") if k != axis)
    assert f"the tool rotates about its {'xyz'[axis]} axis only" in str(caught.value)
    assert f"rotate it by 20 to 40 deg about its {other_axes} axis too" in str(caught.value)


def test_oblique_axis_is_named_by_its_components() -> None:
    assert axis_name(np.array([0.0, -1.0, 0.05])) == "its y axis"
    assert axis_name(np.array([-0.6, 0.0, -0.8])) == "its axis (0.60, 0.00, 0.80)"


def test_similar_poses_are_refused() -> None:
    pairs = random_pairs(0)
    with pytest.raises(ValueError, match="4 distinct poses; 6 are needed, 15 to 20 recommended"):
        calibrate(pairs[np.arange(4)], "eye_to_hand")
    with pytest.raises(ValueError, match="5 distinct poses"):
        calibrate(pairs[np.arange(20) % 5], "eye_to_hand")
    shifted = pairs.T_base_tool.copy()
    shifted[:, :3, :3] = shifted[0, :3, :3]
    with pytest.raises(ValueError, match="the tool hardly rotates"):
        calibrate(PosePairs.from_poses(shifted, pairs.T_camera_marker), "eye_to_hand")


def test_unrelated_detections_are_refused() -> None:
    marker = random_pairs(1).T_camera_marker
    with pytest.raises(
        ValueError, match="deg; check that the camera is beside the arm and the marker "
    ):
        calibrate(PosePairs.from_poses(random_pairs(0).T_base_tool, marker), "eye_to_hand")
    with pytest.raises(
        ValueError, match="check that the camera is on the hand and the marker fixed to the"
    ):
        calibrate(random_pairs(0), "eye_in_hand")


def test_advice_names_missing_rotations_and_poses() -> None:
    flat = PoseDiversity.from_poses(random_pairs(0, axes=(2,)).T_base_tool)
    assert flat.advice() == "rotate it by 20 to 40 deg about its x or y axis too"
    assert (
        PoseDiversity.from_poses(random_pairs(0, n=10).T_base_tool)
        .advice()
        .startswith("5 more poses")
    )
    assert PoseDiversity.from_poses(random_pairs(0).T_base_tool).advice() is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"T_base_tool": 2 * np.tile(np.eye(4), (6, 1, 1))}, "T_base_tool 0 has no rotation"),
        (
            {"T_camera_marker": np.tile(np.diag([1, 1, -1.0, 1]), (6, 1, 1))},
            "T_camera_marker 0 has no r",
        ),
        ({"T_camera_marker": np.full((6, 4, 4), np.nan)}, "T_camera_marker must be finite"),
        (
            {"T_camera_marker": np.tile(np.eye(4), (5, 1, 1))},
            r"must be finite and \(6, 4, 4\), got \(5",
        ),
        ({"covariance": np.eye(6)}, r"covariance must be \(6, 6, 6\), got \(6, 6\)"),
    ],
)
def test_invalid_pose_pairs_are_refused(change: dict, message: str) -> None:
    pairs = random_pairs(0, n=6)
    parts = {
        "T_base_tool": pairs.T_base_tool,
        "T_camera_marker": pairs.T_camera_marker,
        "covariance": pairs.covariance,
    }
    with pytest.raises(ValueError, match=message):
        PosePairs(**{**parts, **change})
    with pytest.raises(
        ValueError, match="unknown mounting 'wall'; expected one of eye_to_hand, eye_in_hand"
    ):
        pairs.motion("wall")
