from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from synthetic_videos import SIDE, patch_video
from test_video_models import keypoint_labels, make, make_clips, pixels_and_time

from invdyn_ros.data.windows import windows
from invdyn_ros.models.augmentation import WRIST_JOINTS, augment
from invdyn_ros.training.optimizer import Optimizer, OptimizerConfig


def test_actions_are_odd_in_time_and_zero_for_constant_images() -> None:
    model, (pixels, time) = make("keypoints"), pixels_and_time(2)
    forth = model.predict(pixels, time).mean[:, 1]
    torch.testing.assert_close(model.predict(pixels.flip(1), time).mean[:, 1], -forth)
    constant = pixels[:, :1].expand(-1, 2, -1)
    assert not model.predict(constant, time).mean[:, 1].any()


def test_crop_moves_with_its_centre() -> None:
    model = make("keypoints", crop_size=8)
    centre = torch.tensor([[0.25, -0.125]])  # 4 px right and 2 px up
    images = torch.rand(1, 3, SIDE, SIDE)
    crop = model.crop(images, centre)
    torch.testing.assert_close(crop, images[..., 10:18, 16:24])
    shifted = model.crop(images.roll((3, 5), (2, 3)), centre + torch.tensor([[5, 3]]) / 16)
    torch.testing.assert_close(shifted, crop)


def test_large_images_are_downsampled_to_the_configured_size() -> None:
    sizes = [
        make("keypoints", downsampled_size=side).coarse_detector.heatmap_size
        for side in (32, 31, 16)
    ]
    assert sizes == [(8, 8), (4, 4), (4, 4)]


def test_keypoint_labels_supervise_the_centre_of_the_crop() -> None:
    videos = [replace(v := patch_video(k, 6), points=keypoint_labels(v)) for k in range(16)]
    data = windows(videos, 6, dtype=torch.float32, input_type="pixels")
    model = make("keypoints", crop_size=8, channels=[8, 16, 16], num_keypoints=4, width=16)
    model.standardise(data)
    optimizer = Optimizer(
        model.parameters(), OptimizerConfig(learning_rate=3e-3, max_grad_norm=0.0)
    )
    model.train()
    optimizer.minimize(model.loss, [data] * 60)
    images = model.normalise_images(data.motion[..., :-1].unflatten(2, (SIDE, SIDE, 3)))
    predicted = (model.detect_keypoints(images)[1][:, :, -1] + 1) / 2
    labels = data.action[..., 2:]
    assert (predicted - labels).norm(dim=-1).mean() < 0.3 * (labels - 0.5).norm(dim=-1).mean()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"crop_size": -1}, "crop_size is -1; it must be greater than or equal to 0"),
        ({"downsampled_size": 8}, "downsampled_size is 8; it must be greater than or equal to 16"),
        ({"channels": [8, 8]}, r"channels are \[8, 8\]; give three numbers"),
    ],
)
def test_invalid_fields_are_named(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make("keypoints", **fields)


def test_training_loss_covers_all_pairs_of_a_clip() -> None:
    pixels, time = pixels_and_time(4)
    action = torch.as_tensor(patch_video(0, 4).action, dtype=torch.float32)[None]
    model = make("keypoints").train()
    torch.manual_seed(0)
    loss = model.loss(pixels, time, action)
    torch.manual_seed(0)
    colours = pixels[..., :-1].unflatten(2, (SIDE, SIDE, 3))
    images, shifted, _ = augment(make_clips(colours, action[:, 1:]), WRIST_JOINTS)
    clips, verb = model.normalise_images(images), torch.zeros(1)
    errors = [
        model.clip_displacement(clips, verb, torch.tensor([[a, b]])) - shifted[:, None, a:b].sum(2)
        for a in range(4)
        for b in range(a + 1, 4)
    ]
    torch.testing.assert_close(loss, torch.cat(errors).square().mean())
