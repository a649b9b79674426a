"""Where the camera stands, from poses of the arm and of a marker."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from scipy.stats import chi2

from invdyn_ros.handeye.calibration import calibrate, camera_pose, sizes
from invdyn_ros.handeye.camera_pose import CameraPose, read_camera_pose, to_yaml
from invdyn_ros.handeye.excitation import Excitation, axis_name
from invdyn_ros.handeye.pairs import MOUNTINGS, Mounting, Pairs, difference, inverse, pose
from invdyn_ros.handeye.rests import RestConfig, Rests, Streams, find_rests, known
from invdyn_ros.handeye.solve import fit, held_out
from invdyn_ros.handeye.start import first_guess
from invdyn_ros.robot import load_robot

X = pose(np.array([1.2, -1.0, 0.8]), np.array([0.9, -0.3, 0.6]))
Y = pose(np.array([0.3, 0.2, -0.9]), np.array([0.01, -0.02, 0.05]))
NOISE = 1e-3, np.radians(0.5)  # of a sighting, per axis [m], [rad]


def random_pairs(
    seed: int,
    n: int = 20,
    mounting: Mounting = "beside",
    noise: tuple[float, float] = (0.0, 0.0),
    axes: tuple[int, ...] = (0, 1, 2),
) -> Pairs:
    """Sightings in a cube of 40 cm that is 70 cm away, turned up to 60 deg about some axes."""
    rng = np.random.default_rng(seed)
    turn = np.zeros((n, 3))
    turn[:, axes] = np.radians(60) * rng.uniform(-1, 1, (n, len(axes)))
    # the tool turns in its own frame about those axes only
    tool = pose(np.tile([0.4, 0.1, 0.2], (n, 1)), np.zeros((n, 3))) @ pose(turn, np.zeros((n, 3)))
    place = rng.uniform(-0.2, 0.2, (n, 3)) + np.array([0.0, 0.0, 0.7])
    tool[:, :3, 3] = 0.0
    marker = inverse(X) @ tool @ Y
    arm = tool.copy()
    arm[:, :3, 3] = (place - marker[:, :3, 3]) @ X[:3, :3].T
    if mounting == "hand":
        arm = inverse(arm)
    made = Pairs.of(arm, inverse(X) @ Pairs.of(arm, arm).motion(mounting) @ Y)
    return blurred(made, noise, rng)


def blurred(pairs: Pairs, noise: tuple[float, float], rng: np.random.Generator) -> Pairs:
    error = rng.standard_normal((len(pairs), 6)) * np.repeat(noise, 3)
    marker = pairs.marker.copy()
    marker[:, :3, 3] += error[:, :3]
    marker[:, :3, :3] = Rotation.from_rotvec(error[:, 3:]).as_matrix() @ pairs.marker[:, :3, :3]
    return Pairs(pairs.arm, marker, pairs.covariance)


def errors(found: np.ndarray, truth: np.ndarray = X) -> np.ndarray:
    """Distance [mm] and angle [deg]."""
    return sizes(difference(found[None], truth[None]))[0] * [1e3, np.degrees(1)]


@pytest.mark.parametrize("mounting", MOUNTINGS)
def test_noise_free_poses_give_the_camera_and_the_marker_exactly(mounting: Mounting) -> None:
    for seed in range(5):
        found = fit(random_pairs(seed, n=8, mounting=mounting), mounting)
        np.testing.assert_allclose(found.X, X, atol=1e-9)
        np.testing.assert_allclose(found.Y, Y, atol=1e-9)
        assert found.used.all()


@pytest.mark.parametrize("mounting", MOUNTINGS)
def test_first_guess_is_exact_without_noise(mounting: Mounting) -> None:
    pairs = random_pairs(3, mounting=mounting)
    guess = first_guess(pairs.motion(mounting), pairs.marker)
    np.testing.assert_allclose(guess, (X, Y), atol=1e-9)


def test_another_base_frame_moves_the_camera_with_it() -> None:
    pairs = random_pairs(0, noise=NOISE)
    other = pose(np.array([0.5, 2.0, -0.3]), np.array([3.0, -1.0, 0.5]))
    moved = Pairs(other @ pairs.arm, pairs.marker, pairs.covariance)
    first, second = fit(pairs, "beside"), fit(moved, "beside")
    np.testing.assert_allclose(second.X, other @ first.X, atol=1e-8)
    turn = np.kron(np.eye(2), other[:3, :3])
    np.testing.assert_allclose(second.covariance, turn @ first.covariance @ turn.T, rtol=1e-3)


def test_another_frame_of_the_marker_leaves_the_camera() -> None:
    pairs = random_pairs(0, noise=NOISE)
    other = pose(np.array([0.5, -1.0, 0.3]), np.zeros(3))
    turned = Pairs(pairs.arm, pairs.marker @ other, pairs.covariance)
    np.testing.assert_allclose(fit(turned, "beside").X, fit(pairs, "beside").X, atol=1e-8)


@pytest.mark.parametrize("mounting", MOUNTINGS)
def test_error_is_within_a_millimetre_and_a_tenth_of_a_degree(mounting: Mounting) -> None:
    """20 poses at the corners of the view, each seen with 1 mm and 0.5 deg of noise per axis."""
    found = []
    for seed in range(40):
        pairs = random_pairs(seed, mounting=mounting)
        corners = 0.2 * np.sign(pairs.marker[:, :3, 3] - [0, 0, 0.7]) + [0, 0, 0.7]
        marker = pairs.marker.copy()
        marker[:, :3, 3] = corners
        motion = X @ marker @ inverse(Y)
        arm = motion if mounting == "beside" else inverse(motion)
        wanted = Pairs.of(arm, marker)
        seen = blurred(wanted, NOISE, np.random.default_rng(1000 + seed))
        found.append(errors(fit(seen, mounting).X))
    distance, angle = np.median(found, axis=0)
    assert distance < 1.0 and angle < 0.1


def test_covariance_says_how_large_the_errors_are() -> None:
    """The squared error in standard deviations is six on average, and 95% are in the ellipsoid."""
    squares = []
    for seed in range(80):
        found = fit(random_pairs(seed, noise=NOISE), "beside")
        error = difference(found.X[None], X[None])[0]
        squares.append(error @ np.linalg.solve(found.covariance, error))
    assert 4.5 < np.mean(squares) < 8.0
    assert np.mean(np.array(squares) < chi2.ppf(0.95, 6)) > 0.85


def test_scale_of_the_noise_is_found_for_positions_and_rotations_apart() -> None:
    scales = [
        fit(random_pairs(seed, noise=(3e-3, np.radians(0.25))), "beside").scale
        for seed in range(10)
    ]
    np.testing.assert_allclose(np.mean(scales, axis=0), (3.0, 0.5), rtol=0.15)


def test_precise_sightings_count_more() -> None:
    rng, even, weighed = np.random.default_rng(0), [], []
    for seed in range(20):
        pairs = random_pairs(seed)
        blur = np.where(np.arange(20) % 2, 0.2, 4.0)[:, None, None]
        seen = blurred(pairs, NOISE, rng)
        error = difference(seen.marker, pairs.marker) * blur[:, 0]
        marker = pairs.marker.copy()
        marker[:, :3, 3] += error[:, :3]
        marker[:, :3, :3] = pose(error[:, 3:], error[:, :3])[:, :3, :3] @ marker[:, :3, :3]
        even.append(errors(fit(Pairs.of(pairs.arm, marker), "beside").X)[0])
        known_noise = Pairs(pairs.arm, marker, pairs.covariance * blur**2)
        weighed.append(errors(fit(known_noise, "beside").X)[0])
    assert np.median(weighed) < 0.7 * np.median(even)


def test_wrong_sightings_are_left_out_by_name() -> None:
    for seed in range(5):
        pairs = random_pairs(seed, noise=NOISE)
        wrong = [2, 7, 11, 16]
        marker = pairs.marker.copy()
        marker[wrong] = marker[wrong] @ pose(np.array([0.0, 1.4, 0.3]), np.array([0, 0, 0.03]))
        found = fit(Pairs(pairs.arm, marker, pairs.covariance), "beside")
        assert np.flatnonzero(~found.used).tolist() == wrong
        without = np.ones(20, bool)
        without[wrong] = False
        np.testing.assert_allclose(found.X, fit(pairs[without], "beside").X, atol=1e-5)


def test_held_out_residual_is_the_noise_and_exceeds_the_fitted_one() -> None:
    out, fitted = [], []
    for seed in range(10):
        pairs = random_pairs(seed, noise=NOISE)
        out.append(sizes(held_out(pairs, "beside")) ** 2)
        fitted.append(sizes(calibrate(pairs, "beside").residual) ** 2)
    noise = np.sqrt(3) * np.array(NOISE)
    ratio = np.sqrt(np.mean(out, axis=(0, 1))) / noise
    assert (ratio > 1.0).all() and (ratio < 1.4).all()
    assert (np.sqrt(np.mean(fitted, axis=(0, 1))) < noise).all()


@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize("mounting", MOUNTINGS)
def test_turns_about_one_axis_are_refused_by_its_name(axis: int, mounting: Mounting) -> None:
    pairs = random_pairs(0, axes=(axis,), noise=NOISE)
    with pytest.raises(ValueError) as caught:
        calibrate(pairs, mounting)
    others = " or ".join(name for k, name in enumerate("xyz") if k != axis)
    assert f"turn the tool about its {'xyz'[axis]} axis only" in str(caught.value)
    assert f"turn it by 20 to 40 deg about its {others} axis too" in str(caught.value)


def test_an_axis_between_those_of_the_tool_is_named_by_its_components() -> None:
    assert axis_name(np.array([0.0, -1.0, 0.05])) == "its y axis"
    assert axis_name(np.array([-0.6, 0.0, -0.8])) == "its axis (0.60, 0.00, 0.80)"


def test_poses_that_hardly_differ_are_refused() -> None:
    pairs = random_pairs(0)
    with pytest.raises(ValueError, match="4 poses that differ; 6 are needed, 15 to 20 are good"):
        calibrate(pairs[np.arange(4)], "beside")
    with pytest.raises(ValueError, match="5 poses that differ"):
        calibrate(pairs[np.arange(20) % 5], "beside")
    shifted = pairs.arm.copy()
    shifted[:, :3, :3] = shifted[0, :3, :3]
    with pytest.raises(ValueError, match="the poses hardly turn the tool"):
        calibrate(Pairs.of(shifted, pairs.marker), "beside")


def test_sightings_of_something_else_are_refused() -> None:
    marker = random_pairs(1).marker
    with pytest.raises(ValueError, match="deg; is the camera beside the arm and the marker "):
        calibrate(Pairs.of(random_pairs(0).arm, marker), "beside")
    with pytest.raises(ValueError, match="is the camera on the hand and the marker fixed to the"):
        calibrate(random_pairs(0), "hand")


def test_advice_names_what_is_missing_until_there_is_enough() -> None:
    flat = Excitation.of(random_pairs(0, axes=(2,)).arm)
    assert flat.advice() == "turn it by 20 to 40 deg about its x or y axis too"
    assert Excitation.of(random_pairs(0, n=10).arm).advice().startswith("5 more poses")
    assert Excitation.of(random_pairs(0).arm).advice() is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"arm": 2 * np.tile(np.eye(4), (6, 1, 1))}, "arm pose 0 has no rotation"),
        ({"marker": np.tile(np.diag([1, 1, -1.0, 1]), (6, 1, 1))}, "marker pose 0 has no rotat"),
        ({"marker": np.full((6, 4, 4), np.nan)}, "marker poses must be finite"),
        ({"marker": np.tile(np.eye(4), (5, 1, 1))}, r"must be finite and \(6, 4, 4\), got \(5"),
        ({"covariance": np.eye(6)}, r"covariance must be \(6, 6, 6\), got \(6, 6\)"),
    ],
)
def test_what_is_no_pair_of_poses_is_refused(change: dict, message: str) -> None:
    pairs = random_pairs(0, n=6)
    parts = {"arm": pairs.arm, "marker": pairs.marker, "covariance": pairs.covariance}
    with pytest.raises(ValueError, match=message):
        Pairs(**{**parts, **change})
    with pytest.raises(ValueError, match="no mounting 'wall'; there are beside, hand"):
        pairs.motion("wall")


# rests


def rested(
    moves: list[np.ndarray], rate: float = 50.0, pause: float = 1.0, clock: float = 100.0
) -> Streams:
    """An arm that goes from posture to posture and sees the marker at 10 Hz all the way."""
    robot = load_robot("ur5")
    time, q = [], []
    for k, goal in enumerate(moves):
        start = moves[max(k - 1, 0)]
        for s in np.concatenate([np.linspace(0, 1, int(rate)), np.ones(int(rate * pause))]):
            q.append(start + s * (goal - start))
            time.append(clock + len(time) / rate)
    time, q = np.array(time), np.array(q)
    seen = np.arange(time[0], time[-1], 0.1)
    path = np.stack([np.interp(seen, time, column) for column in q.T], axis=1)
    arm = np.array([robot.forward_kinematics(row) for row in path])
    marker = inverse(X) @ arm @ Y
    return Streams(time, q, seen, marker, np.zeros((len(seen), 6, 6)))


def postures(n: int, seed: int = 0) -> list[np.ndarray]:
    home = load_robot("ur5").home
    return list(home + np.random.default_rng(seed).uniform(-0.6, 0.6, (n, home.size)))


def find(streams: Streams) -> Rests:
    return find_rests(streams, load_robot("ur5"), RestConfig())


def test_each_rest_is_one_pose_and_moving_pictures_do_not_count() -> None:
    found = find(rested(postures(8)))
    assert len(found.pairs) == 8
    assert found.pictures < 8 * 10
    np.testing.assert_allclose(fit(found.pairs, "beside").X, X, atol=1e-9)


def test_a_late_camera_does_not_matter_where_the_arm_rests() -> None:
    streams = rested(postures(8))
    late = find(streams._replace(seen=streams.seen + 0.08))
    np.testing.assert_allclose(fit(late.pairs, "beside").X, X, atol=1e-9)


def test_order_and_repeats_of_messages_do_not_matter() -> None:
    streams = rested(postures(6))
    rng = np.random.default_rng(0)
    a, b = rng.permutation(len(streams.time)), rng.permutation(np.arange(2 * len(streams.seen)))
    b %= len(streams.seen)
    mixed = Streams(
        streams.time[a], streams.q[a], streams.seen[b], streams.marker[b], streams.covariance[b]
    )
    np.testing.assert_allclose(find(mixed).pairs.arm, find(streams).pairs.arm, atol=1e-12)


def test_a_flipped_picture_does_not_spoil_its_rest() -> None:
    streams = rested(postures(8))
    flipped = streams.marker.copy()
    flipped[::7] = flipped[::7] @ pose(np.array([1.5, 0.0, 0.0]), np.zeros(3))
    noisy = blurred(Pairs.of(flipped, flipped), (1e-4, 1e-3), np.random.default_rng(0)).marker
    found = fit(find(streams._replace(marker=noisy)).pairs, "beside")
    assert found.used.all()
    assert errors(found.X)[0] < 1.0


def test_pictures_beyond_the_joint_states_do_not_count() -> None:
    streams = rested(postures(6))
    part = streams.time < streams.time[0] + 4.5  # the third rest is cut
    cut = find(streams._replace(time=streams.time[part], q=streams.q[part]))
    assert len(cut.pairs) == 2
    pause = (streams.time < 102.1) | (streams.time > 103.9)  # nothing on the second rest
    holed = find(streams._replace(time=streams.time[pause], q=streams.q[pause]))
    assert len(holed.pairs) == 5
    assert len(find(streams._replace(time=streams.time[:0], q=streams.q[:0])).pairs) == 0


def test_a_covariance_that_nobody_gave_becomes_the_usual_one() -> None:
    given = np.stack([np.zeros((6, 6)), np.diag([4e-6] * 6), -np.eye(6), np.full((6, 6), np.nan)])
    made = known(given)
    usual = np.repeat(NOISE, 3) ** 2
    for k in (0, 2, 3):
        np.testing.assert_allclose(np.diag(made[k]), usual)
    assert (np.diag(made[1]) >= 4e-6).all()


def test_rest_without_a_length_is_refused() -> None:
    with pytest.raises(ValueError, match=r"settle is 0\.0; it must be positive"):
        RestConfig(settle=0.0)


# the file


def test_the_file_reads_back_as_it_was_written(tmp_path) -> None:
    made = camera_pose(calibrate(random_pairs(0, noise=NOISE), "beside"), "ur5", "beside")
    file = tmp_path / "camera.yaml"
    file.write_text(to_yaml(made, "base_link"))
    read = read_camera_pose(file, "ur5")
    assert read == made
    assert errors(read.T)[0] < 4.0 and read.poses == 20
    assert 1e-3 < read.held_out[0] < 3e-3


def test_a_file_by_hand_needs_a_place_and_a_direction_only(tmp_path) -> None:
    file = tmp_path / "camera.yaml"
    file.write_text(
        "arm: ur5\nmounting: beside\nposition: [1, 0, 0.5]\nquaternion: [1, 0, 0, 0]\n"
    )
    np.testing.assert_allclose(read_camera_pose(file, "ur5").T[:3], [
        [1, 0, 0, 1], [0, -1, 0, 0], [0, 0, -1, 0.5]
    ])  # fmt: skip


GOOD = CameraPose("ur5", "beside", (1.0, 0.0, 0.5), (1.0, 0.0, 0.0, 0.0))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("arm: ur5", "arm: dofbot", "is the camera of 'dofbot', not of 'ur5'"),
        ("mounting: beside", "mounting: hand", "camera on the hand; the grasp needs one that st"),
        ("mounting: beside", "mounting: wall", "'wall' is not one of 'beside', 'hand'"),
        ("[1.0, 0.0, 0.5]", "[1000.0, 0.0, 0.5]", "it must be in metres"),
        ("[1.0, 0.0, 0.5]", "[.nan, 0.0, 0.5]", "it must be in metres"),
        ("[1.0, 0.0, 0.5]", "[1.0, 0.0]", "position: expected 3 values, got 2"),
        ("[1.0, 0.0, 0.0, 0.0]", "[1.0, 1.0, 0.0, 0.0]", "norm 1.414; x, y, z, w need norm 1"),
        ("position:", "place:", "unknown field 'place'; CameraPose has arm, mounting, position"),
    ],
)
def test_a_wrong_file_is_refused_in_one_line(tmp_path, old, new, message) -> None:
    file = tmp_path / "camera.yaml"
    text = to_yaml(GOOD, "base_link")
    assert old in text
    file.write_text(text.replace(old, new))
    with pytest.raises(ValueError) as caught:
        read_camera_pose(file, "ur5")
    assert message in str(caught.value) and "\n" not in str(caught.value)
    assert file.name in str(caught.value)
