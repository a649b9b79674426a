"""Block pose network: geometry, training, calibration, metrics, checkpoints."""

from __future__ import annotations

from contextlib import closing

import numpy as np
import pytest
import torch
from small_block_pose_net import (
    NOISE_LEVELS,
    SCENE,
    UR5,
    confident,
    home_states,
    metadata,
    render,
    untrained,
)

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
from invdyn_ros.grasp.pose_training import rendered_dataset
from invdyn_ros.grasp.pose_training.loss import BlockPoseFitConfig, fit, predict_all
from invdyn_ros.grasp.pose_training.metrics import fit_std_scale, pose_metrics, select, yaw_error
from invdyn_ros.grasp.pose_training.rendered_dataset import (
    LABELS_FILE,
    DatasetRenderer,
    DatasetRenderingConfig,
    load_rendered_images,
)
from invdyn_ros.models.checkpoint_files import METADATA_FILE
from invdyn_ros.workers import LocalProcesses


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return render(tmp_path_factory.mktemp("images"), 64)


def test_exact_landmarks_give_the_position_of_the_block() -> None:
    network, random = untrained(), np.random.default_rng(0)
    for episode in range(20):
        noise = RANDOMIZATION_LEVELS["hard"]
        camera = randomize_camera(
            randomize_scene(SCENE, noise, 0, episode), noise, 0, episode, 64
        ).camera
        x, y = random.uniform(*SCENE.area_x), random.uniform(*SCENE.area_y)
        points = [(x, y, 0.0), *((*mark, 0.0) for mark in landmarks(SCENE))]
        keypoints = torch.as_tensor((camera.project(np.array(points)) + 0.5) * 2 / 64 - 1)
        peak = torch.ones(1, len(points))
        scaled = network._position_from_homography(keypoints.float()[None], peak)[0]
        position = np.array(area_centre(SCENE)) + POSITION_SCALE * scaled.numpy()
        assert np.linalg.norm(position - (x, y)) < 2e-3


def test_an_invisible_landmark_does_not_move_the_position() -> None:
    network, keypoints = untrained(), torch.rand(1, 10, 2) - 0.5
    peak = torch.ones(1, 10)
    peak[0, 4] = 1e-9
    position = network._position_from_homography(keypoints, peak)
    keypoints[0, 4] += 0.3
    moved = network._position_from_homography(keypoints, peak)
    torch.testing.assert_close(moved, position, atol=1e-3, rtol=0)


def test_labels_match_the_rendered_images(tmp_path) -> None:
    """The labelled keypoint is near the centre of the pixels of the block's colour."""
    config = DatasetRenderingConfig(
        images_per_camera=1, home_fraction=1.0, default_noise_fraction=1.0
    )
    with closing(DatasetRenderer(UR5, SCENE, home_states(), 64, config)) as renderer:
        rendered = renderer.render(tmp_path, 12, 3, NOISE_LEVELS)
    for image, label in zip(rendered.images, rendered.labels, strict=True):
        difference = np.abs(image.astype(int) - np.array(SCENE.block_color)).sum(axis=2)
        rows, columns = np.nonzero(difference < 90)
        centre = (np.array([columns.mean(), rows.mean()]) + 0.5) * 2 / 64 - 1
        assert np.linalg.norm(centre - label["keypoints"][0]) < 0.15
        assert label["keypoints"][0, 1] > centre[1]


def test_rendering_is_reproducible_and_incomplete_datasets_are_ignored(tmp_path, dataset) -> None:
    again, other = render(tmp_path / "again", 64), render(tmp_path / "other", 64, seed=1)
    np.testing.assert_array_equal(again.images, dataset.images)
    np.testing.assert_array_equal(again.labels, dataset.labels)
    assert not np.array_equal(other.images, dataset.images)
    assert load_rendered_images(tmp_path / "again") is not None
    (tmp_path / "again" / LABELS_FILE).unlink()
    assert load_rendered_images(tmp_path / "again") is None


@pytest.mark.slow
def test_images_do_not_depend_on_the_number_of_workers(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(rendered_dataset, "IMAGES_PER_JOB", 16)
    config = DatasetRenderingConfig(home_fraction=0.5)
    one, two = (
        DatasetRenderer(UR5, SCENE, home_states(), 64, config).render(
            tmp_path / str(workers), 40, 3, NOISE_LEVELS, executor=LocalProcesses(workers)
        )
        for workers in (1, 2)
    )
    np.testing.assert_array_equal(one.images, two.images)
    np.testing.assert_array_equal(one.labels, two.labels)


@pytest.mark.slow
def test_training_lowers_the_error_on_new_images(tmp_path) -> None:
    """It is far below that of always predicting the mean position."""
    train, val = render(tmp_path / "a", 1000), render(tmp_path / "b", 200, seed=1)
    network, losses = untrained(), []
    fit(network, [train], BlockPoseFitConfig(epochs=12, batch_size=32), 0, losses.append)
    assert np.mean(losses[-20:]) < np.mean(losses[:20]) / 2
    prediction = decode_prediction(predict_all(network, val), (1.0, 1.0))
    metrics = pose_metrics(prediction, val.labels)
    assert metrics["detected_fraction"] > 0.2
    assert metrics["position_error_mm"]["p50"] < metrics["centre_baseline_mm"]["p50"] / 4


def noisy_prediction(labels: np.ndarray, error_scale: float) -> BlockPosePrediction:
    """Predictions with errors of `error_scale` times their predicted std."""
    random, n = np.random.default_rng(1), len(labels)
    std = np.tile([0.003, 0.002, 0.05], (n, 1))
    error = error_scale * std * random.standard_normal((n, 3))
    position, yaw = labels["position"] + error[:, :2], labels["yaw"] + error[:, 2]
    return BlockPosePrediction(position, yaw, std, np.ones(n))


def test_std_scale_calibrates_the_coverage(dataset) -> None:
    labels = np.repeat(dataset.labels, 60)
    labels["on_table"] = 1
    prediction = noisy_prediction(labels, 2.0)
    position_scale, yaw_scale = fit_std_scale(prediction, labels)
    np.testing.assert_allclose([position_scale, yaw_scale], 2.0, rtol=0.05)
    std = prediction.std * [position_scale, position_scale, yaw_scale]
    metrics = pose_metrics(prediction._replace(std=std), labels)
    assert metrics["position_coverage"] == pytest.approx(0.95, abs=0.01)
    assert metrics["yaw_coverage"] == pytest.approx(0.95, abs=0.01)
    assert pose_metrics(prediction, labels)["position_coverage"] < 0.7


def test_yaw_error_is_modulo_a_quarter_turn(dataset) -> None:
    prediction = noisy_prediction(dataset.labels, 0.0)
    for turns in range(-3, 4):
        rotated = prediction._replace(yaw=prediction.yaw + turns * np.pi / 2)
        np.testing.assert_allclose(yaw_error(rotated, dataset.labels), 0.0, atol=1e-6)


def test_images_without_a_detection_are_counted_but_have_no_errors(dataset) -> None:
    labels = dataset.labels
    prediction = noisy_prediction(labels, 1.0)
    nothing = prediction._replace(on_table_probability=np.zeros(len(labels)))
    assert pose_metrics(nothing, labels) == {"images": 64, "detected_fraction": 0.0}
    half = np.arange(64) % 2 == 0
    assert pose_metrics(*select(prediction, labels, half))["images"] == 32


def test_a_loaded_network_has_the_same_output(tmp_path, dataset) -> None:
    network = untrained()
    save_block_pose_net(network, tmp_path)
    output = predict_all(network, dataset)
    loaded = load_block_pose_net(tmp_path, "ur5")
    for a, b in zip(output, predict_all(loaded, dataset), strict=True):
        torch.testing.assert_close(a, b)
    copied = network.with_metadata(metadata())
    torch.testing.assert_close(predict_all(copied, dataset)[0], output[0])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda d: (d / METADATA_FILE).unlink(), "is no block pose network: meta.json is missing"),
        (lambda d: (d / METADATA_FILE).write_text("{"), "is not JSON"),
        (lambda d: (d / METADATA_FILE).write_text("{}"), "is not of a block pose network"),
        (lambda d: (d / "model.safetensors").write_bytes(b"x"), "is damaged"),
    ],
)
def test_an_invalid_checkpoint_is_refused_in_one_line(tmp_path, damage, message) -> None:
    save_block_pose_net(untrained(), tmp_path)
    damage(tmp_path)
    with pytest.raises(ValueError, match=message) as error:
        load_block_pose_net(tmp_path)
    assert "\n" not in str(error.value)


def test_a_network_of_another_arm_is_refused(tmp_path) -> None:
    save_block_pose_net(untrained("dofbot"), tmp_path)
    with pytest.raises(ValueError, match="trained for 'dofbot', not for 'ur5'"):
        GraspEnv(block_pose_model=str(tmp_path))
    with pytest.raises(ValueError, match="trained for 'dofbot', not for 'ur5'"):
        BlockPoseEstimator(UR5, SCENE, untrained("dofbot"))


def test_image_sizes_that_cannot_be_halved_three_times_are_refused() -> None:
    with pytest.raises(ValueError, match="multiple of 8"):
        BlockPoseNetConfig(pixels=100)


def test_an_image_of_another_size_is_scaled_or_refused(dataset) -> None:
    estimator = BlockPoseEstimator(UR5, SCENE, confident(untrained()))
    image = np.array(dataset.images[0])
    detection = estimator.estimate(0.0, image, UR5.home, 0.08)
    enlarged = np.kron(image, np.ones((2, 2, 1), np.uint8))
    same_detection = estimator.estimate(0.0, enlarged, UR5.home, 0.08)
    assert detection is not None and same_detection is not None
    np.testing.assert_allclose(same_detection.position, detection.position, atol=1e-6)
    for shape in ((480, 640, 3), (32, 32, 3), (64, 64), (64, 64, 4)):
        with pytest.raises(ValueError, match="takes square RGB images, 64x64x3 or larger"):
            estimator.estimate(0.0, np.zeros(shape, np.uint8), UR5.home, 0.08)


def test_uncertain_predictions_give_no_detection(dataset) -> None:
    network, image = confident(untrained()), np.array(dataset.images[0])
    estimator = BlockPoseEstimator(UR5, SCENE, network)
    assert estimator.estimate(0.0, image, UR5.home, 0.08) is not None
    large_std = [-3.0, 2 + np.log(MAX_POSITION_STD / POSITION_SCALE), -3.0, 9.0]
    not_on_table = [-3.0, -3.0, -3.0, -9.0]
    for bias in (large_std, not_on_table):
        with torch.no_grad():
            network.head[-1].bias[4:] = torch.tensor(bias)
        assert estimator.estimate(0.0, image, UR5.home, 0.08) is None
