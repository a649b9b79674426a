from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from synthetic_videos import SIDE, film
from test_video_models import make, place_of, seen, shown

from invdyn_ros.data.windows import windows
from invdyn_ros.models.augmentation import WRIST_JOINTS, augment


def test_actions_of_keypoints_are_odd_in_time_and_none_where_nothing_moves() -> None:
    model, (pixels, time) = make("keypoints"), seen(2)
    forth = model.predict(pixels, time).mean[:, 1]
    torch.testing.assert_close(model.predict(pixels.flip(1), time).mean[:, 1], -forth)
    still = pixels[:, :1].expand(-1, 2, -1)
    assert not model.predict(still, time).mean[:, 1].any()


def test_a_second_look_sees_the_same_wherever_it_is() -> None:
    model = make("keypoints", crop_size=8)
    place = torch.tensor([[0.25, -0.125]])  # 4 px right and 2 px up
    pictures = torch.rand(1, 3, SIDE, SIDE)
    near = model.crop(pictures, place)
    torch.testing.assert_close(near, pictures[..., 10:18, 16:24])
    moved = model.crop(pictures.roll((3, 5), (2, 3)), place + torch.tensor([[5, 3]]) / 16)
    torch.testing.assert_close(moved, near)


def test_a_look_at_a_large_picture_is_as_small_as_it_is_told() -> None:
    sides = [
        make("keypoints", downsampled_size=side).coarse_detector.heatmap_size
        for side in (32, 31, 16)
    ]
    assert sides == [(8, 8), (4, 4), (4, 4)]


def test_known_places_teach_where_the_second_look_is() -> None:
    films = [replace(f := film(k, 6), points=place_of(f)) for k in range(16)]
    data = windows(films, 6, dtype=torch.float32, input_type="pixels")
    model = make("keypoints", crop_size=8, channels=[8, 16, 16], num_keypoints=4, width=16)
    model.standardise(data)
    adam = torch.optim.Adam(model.parameters(), 3e-3)
    model.train()
    for _ in range(60):
        adam.zero_grad()
        model.loss(*data).backward()
        adam.step()
    pictures = model.normalise_images(data.motion[..., :-1].unflatten(2, (SIDE, SIDE, 3)))
    where = (model.detect_keypoints(pictures)[1][:, :, -1] + 1) / 2
    known = data.action[..., 2:]
    assert (where - known).norm(dim=-1).mean() < 0.3 * (known - 0.5).norm(dim=-1).mean()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"crop_size": -1}, "crop_size is -1; it must be greater than or equal to 0"),
        ({"downsampled_size": 8}, "downsampled_size is 8; it must be greater than or equal to 16"),
        ({"channels": [8, 8]}, r"channels are \[8, 8\]; give three numbers"),
    ],
)
def test_a_wrong_look_is_one_clear_line(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make("keypoints", **wrong)


def test_what_moved_between_far_pictures_is_the_sum_of_what_moved_between_near_ones() -> None:
    pixels, time = seen(4)
    action = torch.as_tensor(film(0, 4).action, dtype=torch.float32)[None]
    model = make("keypoints").train()
    torch.manual_seed(0)
    loss = model.loss(pixels, time, action)
    torch.manual_seed(0)
    colours = pixels[..., :-1].unflatten(2, (SIDE, SIDE, 3))
    pictures, moved, _ = augment(shown(colours, action[:, 1:]), WRIST_JOINTS)
    films, verb = model.normalise_images(pictures), torch.zeros(1)
    errors = [
        model.clip_displacement(films, verb, torch.tensor([[a, b]])) - moved[:, None, a:b].sum(2)
        for a in range(4)
        for b in range(a + 1, 4)
    ]
    torch.testing.assert_close(loss, torch.cat(errors).square().mean())
