from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from synthetic_videos import SIDE, patch_video

from invdyn_ros.data.dataset import read_dataset, write_dataset
from invdyn_ros.data.trajectory import Trajectory
from invdyn_ros.data.windows import split, windows
from invdyn_ros.evaluation.evaluate import evaluate
from invdyn_ros.evaluation.plots.evaluation import plot_evaluation
from invdyn_ros.evaluation.prediction import predict_split
from invdyn_ros.models.augmentation import (
    WRIST_JOINTS,
    Clips,
    augment,
    flip,
    random_shift,
    reverse_time,
)
from invdyn_ros.models.checkpoint import load, save
from invdyn_ros.models.export_parity import random_motion
from invdyn_ros.models.inverse_dynamics import InverseDynamics
from invdyn_ros.models.model_metadata import ModelMetadata
from invdyn_ros.models.registry import MODELS, build
from invdyn_ros.perception.camera import read_video_info
from invdyn_ros.training.run_config import parse_train_config
from invdyn_ros.training.train import train

VIDEO_FAMILIES = [name for name, family in MODELS.items() if family.input_type == "pixels"]


def make(family: str, **config: object) -> InverseDynamics:
    torch.manual_seed(0)
    frame = (SIDE, SIDE)
    return build(
        ModelMetadata(family, "wrist", WRIST_JOINTS, "1", 10.0, 0.0, "", config, image_size=frame)
    ).eval()


def keypoint_labels(video: Trajectory) -> np.ndarray:
    return centre(torch.as_tensor(video.frames))[:, None].numpy()


def pixels_and_time(count: int = 8) -> tuple[torch.Tensor, torch.Tensor]:
    pixels = torch.as_tensor(patch_video(0, count).pixels)[None]
    return pixels, torch.arange(count)[None] / 10.0


@pytest.mark.parametrize("family", VIDEO_FAMILIES)
def test_uncalibrated_action_depends_on_two_images_only(family: str) -> None:
    model, (pixels, time) = make(family), pixels_and_time()
    other = pixels.clone()
    other[:, 4, :-1] = 255 - other[:, 4, :-1]
    before, after = model.predict(pixels, time).mean, model.predict(other, time).mean
    changed = (before != after).any(-1)[0].tolist()
    assert changed == [k in (4, 5) for k in range(8)]
    pair = model.predict(pixels[:, 2:4], time[:, 2:4]).mean
    torch.testing.assert_close(pair[:, 1], before[:, 3], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("family", VIDEO_FAMILIES)
def test_checkpoint_contains_the_image_statistics(family: str, tmp_path: Path) -> None:
    model, (pixels, time) = make(family), pixels_and_time()
    model.standardise(windows([patch_video(1)], 2, input_type="pixels"))
    colours = patch_video(1).frames[1:].reshape(-1, 3)
    np.testing.assert_allclose(model.get_buffer("pixel_mean"), colours.mean(0), rtol=1e-4)
    save(model, model.meta, tmp_path)
    assert torch.equal(load(tmp_path).predict(pixels, time).mean, model.predict(pixels, time).mean)


def test_verb_affects_the_verb_cnn_only() -> None:
    pixels, time = pixels_and_time()
    with_verb = pixels.clone()
    with_verb[..., -1] = 3
    for family in VIDEO_FAMILIES:
        same = torch.equal(*(make(family).predict(x, time).mean for x in (pixels, with_verb)))
        assert same == (family != "cnn_verb")


@pytest.mark.parametrize("family", VIDEO_FAMILIES)
def test_random_pixels_have_the_size_of_a_frame(family: str) -> None:
    model = make(family)
    motion, time = random_motion(model, 3)
    assert motion.shape == (3, 3, 3 * SIDE * SIDE + 1)
    assert model.predict(motion, time).mean.shape == (3, 3, 2)


def test_video_family_refuses_an_action_delay(tmp_path: Path) -> None:
    write_dataset(
        tmp_path / "data", [patch_video(k, 20, f"v{k}") for k in range(5)], "wrist", 10.0
    )
    with pytest.raises(ValueError, match=r"action_delay is 0\.1 s; the actions of family cnn lie"):
        train(
            parse_train_config({"family": "cnn", "action_delay": 0.1}, ""),
            tmp_path / "data",
            tmp_path / "o",
        )


def test_random_shift_moves_all_images_of_a_clip_alike() -> None:
    images = torch.as_tensor(patch_video(0).frames)[None, :2]
    torch.manual_seed(0)
    shifted = [random_shift(make_clips(images)).images for _ in range(20)]
    positions = torch.stack([centre(x)[0] - centre(images)[0] for x in shifted])  # (20, 2, 2)
    torch.testing.assert_close(positions[:, 0], positions[:, 1], atol=0.01, rtol=0)
    assert positions.abs().max() == pytest.approx(1 / 16, abs=0.01)


def test_flip_negates_the_horizontal_displacement() -> None:
    images, action = torch.as_tensor(patch_video(0).frames)[None, :2], torch.tensor([[[0.1, 0.2]]])
    flipped = flip(make_clips(images, action))
    mirror, shifted, _ = flipped
    assert torch.equal(shifted, torch.tensor([[[-0.1, 0.2]]]))
    assert torch.equal(mirror[0, 0, :, 0], images[0, 0, :, -1])
    for back, first in zip(flip(flipped)[:2], (images, action), strict=True):
        assert torch.equal(back, first)


def test_reversal_in_time_negates_the_action() -> None:
    images, action = torch.as_tensor(patch_video(0).frames)[None, :3], torch.rand(1, 2, 2)
    swapped, shifted, _ = reverse_time(make_clips(images, action))
    assert torch.equal(shifted[0], -action[0, [1, 0]])
    assert torch.equal(swapped[0, 0], images[0, 2])


def make_clips(images: torch.Tensor, action: torch.Tensor | None = None) -> Clips:
    action = torch.zeros(len(images), 1, 2) if action is None else action
    return Clips(images, action, torch.zeros(*images.shape[:2], 0, 2))


def centre(images: torch.Tensor) -> torch.Tensor:
    """Return the position of the patch (..., 2) in fractions of the image size."""
    brightness = images.float().sum(-1)
    bright = (brightness - 0.6 * brightness.amax((-1, -2), keepdim=True)).clamp(min=0)
    axis = (torch.arange(SIDE) + 0.5) / SIDE
    total = bright.sum((-1, -2))
    x, y = (bright.sum(-2) * axis).sum(-1) / total, (bright.sum(-1) * axis).sum(-1) / total
    return torch.stack([x, y], -1)


def test_augmented_labels_match_the_augmented_images() -> None:
    data = windows([patch_video(0)], 3, dtype=torch.float32, input_type="pixels")
    images = data.motion[..., :-1].unflatten(2, (SIDE, SIDE, 3))
    torch.manual_seed(0)
    labelled = Clips(images, data.action[:, 1:], centre(images)[:, :, None])
    changed, action, points = augment(labelled, WRIST_JOINTS)
    torch.testing.assert_close(centre(changed), points[:, :, 0], atol=0.01, rtol=0)
    assert not torch.equal(action, data.action[:, 1:])
    torch.testing.assert_close(centre(changed).diff(dim=1), action, atol=0.01, rtol=0)


def test_clips_of_an_arm_are_not_mirrored() -> None:
    images = torch.arange(64 * 2 * 4 * 4 * 3).reshape(64, 2, 4, 4, 3) % 256
    action = augment(make_clips(images, torch.ones(64, 1, 2)), ("joint_1", "joint_2")).action
    assert set(map(tuple, action[:, 0].tolist())) == {(1.0, 1.0), (-1.0, -1.0)}


def test_videos_are_split_by_participant_or_video() -> None:
    many = [patch_video(k, 10, f"P0{k // 2}/P0{k // 2}_{k}") for k in range(8)]
    parts = split(many)
    assert parts.group_by == "participant"
    participants = [{t.recording[:3] for t in part} for part in (parts.train, parts.test)]
    assert not participants[0] & participants[1]
    segments = [t[a : a + 5] for t in many[:3] for a in (0, 5)]
    segments = [replace(t, recording=t.recording[4:]) for t in segments]
    parts = split(segments)
    assert parts.group_by == "video"
    assert not {t.recording for t in parts.train} & {t.recording for t in parts.test}
    assert len(parts.train) + len(parts.test) == 6


def test_few_videos_are_split_at_one_time() -> None:
    video = replace(patch_video(0, 40), recording="clip")
    gaps = [video, video[::2], video[1::2]]
    parts = split(gaps)
    assert parts.group_by == "time"
    assert max(t.time[-1] for t in parts.train) < min(t.time[0] for t in parts.test)


def test_images_verbs_and_sources_survive_a_round_trip(tmp_path: Path) -> None:
    videos = [patch_video(0, 5, "P01/P01_01", 3), patch_video(1, 4, "P02/P02_01")]
    videos = [replace(f, points=keypoint_labels(f)) for f in videos]
    write_dataset(tmp_path / "data", videos, "wrist", 10.0)
    for before, after in zip(videos, read_dataset(tmp_path / "data").trajectories, strict=True):
        assert np.array_equal(before.frames, after.frames)
        assert (before.recording, before.verb) == (after.recording, after.verb)
        np.testing.assert_array_equal(before.action, after.action)
        np.testing.assert_array_equal(before.points, after.points)
        assert after.position.shape == (0, 2)


def test_images_without_labels_are_a_dataset(tmp_path: Path) -> None:
    write_dataset(tmp_path / "data", [patch_video(0, 5, labelled=False)], "wrist", 10.0)
    (read,), info = read_dataset(tmp_path / "data")
    assert (len(read.action), len(read.frames), info.joint_names) == (0, 5, ())


def test_family_refuses_data_of_the_other_input_type(tmp_path: Path) -> None:
    from oracle import excitation, robot

    write_dataset(tmp_path / "film", [patch_video(k, 20) for k in range(5)], "wrist", 10.0)
    with pytest.raises(ValueError, match="is a video without motion"):
        train(
            parse_train_config({"family": "mlp", "action_delay": 0.0}, ""),
            tmp_path / "film",
            tmp_path / "o",
        )
    ur5 = robot("ur5")
    write_dataset(tmp_path / "arm", [excitation(ur5, k) for k in range(5)], "ur5", ur5.rate)
    with pytest.raises(ValueError, match="family cnn needs images and the data have none"):
        train(parse_train_config({"family": "cnn"}, ""), tmp_path / "arm", tmp_path / "o")
    assert not (tmp_path / "o").exists()


@pytest.mark.slow
@pytest.mark.parametrize("family", VIDEO_FAMILIES)
def test_family_learns_a_moving_patch(family: str, tmp_path: Path) -> None:
    videos = [patch_video(k, 30, f"video_{k}") for k in range(9)]
    write_dataset(tmp_path / "data", videos, "wrist", 10.0)
    fields = {"family": family, "epochs": 10, "batch_size": 8, "learning_rate": 3e-3}
    if family == "keypoints":  # it has a fifth of the windows
        fields |= {"epochs": 15, "channels": [8, 16, 24], "num_keypoints": 8, "width": 64}
    model = train(parse_train_config(fields, ""), tmp_path / "data", tmp_path / "out")
    report = evaluate(model, read_dataset(tmp_path / "data").trajectories)
    rows = report["baselines"]
    assert report["split"]["group_by"] == "video"
    assert report["nmse"]["mean"] < 0.3 < 0.8 < rows["untrained"]["nmse"]["mean"]
    assert {"zero", "mean", "hold_last"} < rows.keys()
    assert report["split"]["test"] == 2 * 29  # the first image of a video has no prediction


def test_plots_of_a_video_have_a_figure_and_a_video(tmp_path: Path) -> None:
    model = make("cnn")
    metadata = {"target_mean": [0.0, 0.0], "samples": {"train": 0}}
    model.meta = replace(model.meta, data=metadata)
    plot_evaluation(tmp_path, model, predict_split(model, [patch_video(1, 11)]))
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["actions_0.png", "video_0.mp4"]
    info = read_video_info(tmp_path / "video_0.mp4")
    assert (info.width, info.height) == (1280, 720)
    assert info.duration == pytest.approx(1.0, abs=0.01)  # ten actions at 10 Hz


def test_same_seed_gives_the_same_weights_on_video(tmp_path: Path) -> None:
    write_dataset(
        tmp_path / "data", [patch_video(k, 20, f"v{k}") for k in range(5)], "wrist", 10.0
    )
    config = parse_train_config({"family": "cnn", "epochs": 2, "batch_size": 16}, "")
    one, two = (train(config, tmp_path / "data", tmp_path / name) for name in ("one", "two"))
    for name, value in one.state_dict().items():
        assert torch.equal(value, two.state_dict()[name]), name


def test_velocity_is_displacement_divided_by_duration() -> None:
    model, (pixels, time) = make("keypoints"), pixels_and_time(3)
    model.meta = replace(model.meta, action_unit="rad/s")
    fast, slow = (model.predict(pixels, x * time).mean[:, 1:] for x in (1.0, 2.0))
    torch.testing.assert_close(slow, fast / 2)


def test_windows_with_a_stride_cover_the_whole_trajectory() -> None:
    video = patch_video(0, 12)
    actual = windows([video], 4, stride=3, input_type="pixels").action.numpy()
    expected = [video.action[k : k + 4] for k in (0, 3, 6, 8)]
    np.testing.assert_array_equal(actual, np.stack(expected))
