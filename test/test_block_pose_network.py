"""Seeing a block without markers: geometry, calibration, learning on a toy, files."""

from __future__ import annotations

from contextlib import closing

import numpy as np
import pytest
import torch
from small_block_pose_net import LEVELS, SCENE, UR5, draw, fresh, home, meta, sure

from invdyn_ros.arms.domain_randomization import (
    RANDOMIZATION_LEVELS,
    randomize_camera,
    randomize_scene,
)
from invdyn_ros.grasp.envs.grasp_env import GraspEnv
from invdyn_ros.grasp.estimation.block_pose_estimator import (
    MAX_POSITION_STD,
    BlockPoseEstimator,
    BlockPosePrediction,
    area_centre,
    decode_prediction,
    landmarks,
)
from invdyn_ros.grasp.estimation.block_pose_network import (
    POSITION_SCALE,
    BlockPoseNetConfig,
    load_block_pose_net,
    save_block_pose_net,
)
from invdyn_ros.grasp.pose_training.loss import BlockPoseFitConfig, fit, predict_all
from invdyn_ros.grasp.pose_training.metrics import fit_std_scale, pose_metrics, select, yaw_error
from invdyn_ros.grasp.pose_training.rendered_dataset import (
    LABELS_FILE,
    DatasetRenderer,
    DatasetRenderingConfig,
    load_rendered_images,
)
from invdyn_ros.models.checkpoint import METADATA_FILE


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return draw(tmp_path_factory.mktemp("some"), 64)


def test_landmarks_where_they_really_are_give_the_place_of_the_block() -> None:
    sight, random = fresh(), np.random.default_rng(0)
    for episode in range(20):
        noise = RANDOMIZATION_LEVELS["hard"]
        camera = randomize_camera(
            randomize_scene(SCENE, noise, 0, episode), noise, 0, episode, 64
        ).camera
        x, y = random.uniform(*SCENE.area_x), random.uniform(*SCENE.area_y)
        marks = [(x, y, 0.0), *((*mark, 0.0) for mark in landmarks(SCENE))]
        places = torch.as_tensor((camera.project(np.array(marks)) + 0.5) * 2 / 64 - 1)
        guess = sight._position_from_homography(places.float()[None], torch.ones(1, len(marks)))[0]
        found = np.array(area_centre(SCENE)) + POSITION_SCALE * guess.numpy()
        assert np.linalg.norm(found - (x, y)) < 2e-3


def test_a_landmark_that_is_not_seen_does_not_move_the_guess() -> None:
    sight, places = fresh(), torch.rand(1, 10, 2) - 0.5
    peak = torch.ones(1, 10)
    peak[0, 4] = 1e-9
    first = sight._position_from_homography(places, peak)
    places[0, 4] += 0.3
    torch.testing.assert_close(
        sight._position_from_homography(places, peak), first, atol=1e-3, rtol=0
    )


def test_what_is_true_of_a_picture_is_where_the_picture_shows_it(tmp_path) -> None:
    """The block is where its colour is, a little above its foot."""
    config = DatasetRenderingConfig(
        images_per_camera=1, home_fraction=1.0, default_noise_fraction=1.0
    )
    with closing(DatasetRenderer(UR5, SCENE, home(), 64, config)) as draughts:
        shown = draughts.render(tmp_path, 12, 3, LEVELS)
    for picture, fact in zip(shown.images, shown.labels, strict=True):
        away = np.abs(picture.astype(int) - np.array(SCENE.block_color)).sum(axis=2)
        rows, columns = np.nonzero(away < 90)
        seen = (np.array([columns.mean(), rows.mean()]) + 0.5) * 2 / 64 - 1
        assert np.linalg.norm(seen - fact["keypoints"][0]) < 0.15
        assert fact["keypoints"][0, 1] > seen[1]


def test_pictures_are_the_same_from_the_same_seed_and_half_drawn_ones_are_none(
    tmp_path, pictures
) -> None:
    again, other = draw(tmp_path / "again", 64), draw(tmp_path / "other", 64, seed=1)
    np.testing.assert_array_equal(again.images, pictures.images)
    np.testing.assert_array_equal(again.labels, pictures.labels)
    assert not np.array_equal(other.images, pictures.images)
    assert load_rendered_images(tmp_path / "again") is not None
    (tmp_path / "again" / LABELS_FILE).unlink()
    assert load_rendered_images(tmp_path / "again") is None


@pytest.mark.slow
def test_seeing_is_learned(tmp_path) -> None:
    """Of blocks it has never seen, far better than by always saying the middle."""
    learned, held = draw(tmp_path / "a", 1000), draw(tmp_path / "b", 200, seed=1)
    sight, losses = fresh(), []
    fit(sight, [learned], BlockPoseFitConfig(epochs=12, batch_size=32), 0, losses.append)
    assert np.mean(losses[-20:]) < np.mean(losses[:20]) / 2
    figures = pose_metrics(decode_prediction(predict_all(sight, held), (1.0, 1.0)), held.labels)
    assert figures["detected_fraction"] > 0.2
    assert figures["position_error_mm"]["p50"] < figures["centre_baseline_mm"]["p50"] / 4


def believed(facts: np.ndarray, wrong: float) -> BlockPosePrediction:
    """Beliefs whose errors are `wrong` times as wide as they say."""
    random, n = np.random.default_rng(1), len(facts)
    std = np.tile([0.003, 0.002, 0.05], (n, 1))
    error = wrong * std * random.standard_normal((n, 3))
    place, yaw = facts["position"] + error[:, :2], facts["yaw"] + error[:, 2]
    return BlockPosePrediction(place, yaw, std, np.ones(n))


def test_the_spread_is_by_how_much_deviations_are_too_small(pictures) -> None:
    facts = np.repeat(pictures.labels, 60)
    facts["on_table"] = 1
    belief = believed(facts, 2.0)
    factors = fit_std_scale(belief, facts)
    np.testing.assert_allclose(factors, 2.0, rtol=0.05)
    wider = belief._replace(std=belief.std * [factors[0], factors[0], factors[1]])
    figures = pose_metrics(wider, facts)
    assert figures["position_coverage"] == pytest.approx(0.95, abs=0.01)
    assert figures["yaw_coverage"] == pytest.approx(0.95, abs=0.01)
    assert pose_metrics(belief, facts)["position_coverage"] < 0.7


def test_a_yaw_is_the_same_after_a_quarter_turn(pictures) -> None:
    belief = believed(pictures.labels, 0.0)
    for turns in range(-3, 4):
        turned = belief._replace(yaw=belief.yaw + turns * np.pi / 2)
        np.testing.assert_allclose(yaw_error(turned, pictures.labels), 0.0, atol=1e-6)


def test_pictures_without_a_sighting_are_counted_not_judged(pictures) -> None:
    belief = believed(pictures.labels, 1.0)
    blind = belief._replace(on_table_probability=np.zeros(len(pictures.labels)))
    assert pose_metrics(blind, pictures.labels) == {"images": 64, "detected_fraction": 0.0}
    half = np.arange(64) % 2 == 0
    assert pose_metrics(*select(belief, pictures.labels, half))["images"] == 32


def test_a_network_on_disk_sees_the_same(tmp_path, pictures) -> None:
    sight = fresh()
    save_block_pose_net(sight, tmp_path)
    same = load_block_pose_net(tmp_path, "ur5")
    for a, b in zip(predict_all(sight, pictures), predict_all(same, pictures), strict=True):
        torch.testing.assert_close(a, b)
    renamed = sight.with_metadata(meta())
    torch.testing.assert_close(predict_all(renamed, pictures)[0], predict_all(sight, pictures)[0])


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda d: (d / METADATA_FILE).unlink(), "is no block pose network: meta.json is missing"),
        (lambda d: (d / METADATA_FILE).write_text("{"), "is not JSON"),
        (lambda d: (d / METADATA_FILE).write_text("{}"), "is of no block pose network"),
        (lambda d: (d / "model.safetensors").write_bytes(b"x"), "is damaged"),
    ],
)
def test_what_is_no_network_that_sees_is_refused_in_one_line(tmp_path, harm, message) -> None:
    save_block_pose_net(fresh(), tmp_path)
    harm(tmp_path)
    with pytest.raises(ValueError, match=message) as caught:
        load_block_pose_net(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_network_of_another_arm_is_refused(tmp_path) -> None:
    save_block_pose_net(fresh("dofbot"), tmp_path)
    with pytest.raises(ValueError, match="trained for 'dofbot', not for 'ur5'"):
        GraspEnv(block_pose_model=str(tmp_path))
    with pytest.raises(ValueError, match="'dofbot', not for 'ur5'"):
        BlockPoseEstimator(UR5, SCENE, fresh("dofbot"))


def test_pictures_that_cannot_be_halved_thrice_are_refused() -> None:
    with pytest.raises(ValueError, match="multiple of 8"):
        BlockPoseNetConfig(pixels=100)


def test_a_picture_of_another_size_is_scaled_or_refused(pictures) -> None:
    seer, picture = BlockPoseEstimator(UR5, SCENE, sure(fresh())), np.array(pictures.images[0])
    seen = seer.estimate(0.0, picture, UR5.home, 0.08)
    larger = seer.estimate(0.0, np.kron(picture, np.ones((2, 2, 1), np.uint8)), UR5.home, 0.08)
    assert seen is not None and larger is not None
    np.testing.assert_allclose(larger.position, seen.position, atol=1e-6)
    for shape in ((480, 640, 3), (32, 32, 3), (64, 64), (64, 64, 4)):
        with pytest.raises(ValueError, match="takes square RGB images, 64x64x3 or larger"):
            seer.estimate(0.0, np.zeros(shape, np.uint8), UR5.home, 0.08)


def test_who_is_in_doubt_says_nothing(pictures) -> None:
    sight, picture = sure(fresh()), np.array(pictures.images[0])
    seer = BlockPoseEstimator(UR5, SCENE, sight)
    assert seer.estimate(0.0, picture, UR5.home, 0.08) is not None
    for bias in (
        [-3.0, 2 + np.log(MAX_POSITION_STD / POSITION_SCALE), -3.0, 9.0],
        [-3.0, -3.0, -3.0, -9.0],
    ):
        with torch.no_grad():
            sight.head[-1].bias[4:] = torch.tensor(bias)
        assert seer.estimate(0.0, picture, UR5.home, 0.08) is None
