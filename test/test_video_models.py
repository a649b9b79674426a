from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from synthetic_videos import SIDE, film

from invdyn_ros.data.dataset import read_dataset, write_dataset
from invdyn_ros.data.trajectory import Trajectory
from invdyn_ros.data.windows import split, windows
from invdyn_ros.evaluation.evaluate import evaluate, predict_split
from invdyn_ros.evaluation.plots.evaluation import plot_evaluation
from invdyn_ros.models import MODELS, InverseDynamics, ModelMetadata, build
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
from invdyn_ros.perception.camera import read_video_info
from invdyn_ros.training.train import parse_config, train

OF_VIDEO = [name for name, family in MODELS.items() if family.input_type == "pixels"]


def make(family: str, **config: object) -> InverseDynamics:
    torch.manual_seed(0)
    frame = (SIDE, SIDE)
    return build(
        ModelMetadata(family, "wrist", WRIST_JOINTS, "1", 10.0, 0.0, "", config, image_size=frame)
    ).eval()


def place_of(video: Trajectory) -> np.ndarray:
    return centre(torch.as_tensor(video.frames))[:, None].numpy()


def seen(count: int = 8) -> tuple[torch.Tensor, torch.Tensor]:
    pixels = torch.as_tensor(film(0, count).pixels)[None]
    return pixels, torch.arange(count)[None] / 10.0


@pytest.mark.parametrize("family", OF_VIDEO)
def test_an_action_depends_on_its_picture_and_the_one_before_alone(family: str) -> None:
    model, (pixels, time) = make(family), seen()
    other = pixels.clone()
    other[:, 4, :-1] = 255 - other[:, 4, :-1]
    before, after = model.predict(pixels, time).mean, model.predict(other, time).mean
    changed = (before != after).any(-1)[0].tolist()
    assert changed == [k in (4, 5) for k in range(8)]
    pair = model.predict(pixels[:, 2:4], time[:, 2:4]).mean
    torch.testing.assert_close(pair[:, 1], before[:, 3], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("family", OF_VIDEO)
def test_saved_family_holds_how_pictures_are_normalised(family: str, tmp_path: Path) -> None:
    model, (pixels, time) = make(family), seen()
    model.standardise(windows([film(1)], 2, input_type="pixels"))
    colours = film(1).frames[1:].reshape(-1, 3)
    np.testing.assert_allclose(model.get_buffer("pixel_mean"), colours.mean(0), rtol=1e-4)
    save(model, model.meta, tmp_path)
    assert torch.equal(load(tmp_path).predict(pixels, time).mean, model.predict(pixels, time).mean)


def test_the_verb_changes_what_cnn_verb_predicts_and_no_other() -> None:
    pixels, time = seen()
    told = pixels.clone()
    told[..., -1] = 3
    for family in OF_VIDEO:
        same = torch.equal(*(make(family).predict(x, time).mean for x in (pixels, told)))
        assert same == (family != "cnn_verb")


@pytest.mark.parametrize("family", OF_VIDEO)
def test_typical_pixels_are_as_wide_as_a_frame(family: str) -> None:
    model = make(family)
    motion, time = random_motion(model, 3)
    assert motion.shape == (3, 3, 3 * SIDE * SIDE + 1)
    assert model.predict(motion, time).mean.shape == (3, 3, 2)


def test_pictures_take_no_lead(tmp_path: Path) -> None:
    write_dataset(tmp_path / "data", [film(k, 20, f"v{k}") for k in range(5)], "wrist", 10.0)
    with pytest.raises(ValueError, match=r"action_delay is 0\.1 s; family cnn reads pictures"):
        train(
            parse_config({"family": "cnn", "action_delay": 0.1}, ""),
            tmp_path / "data",
            tmp_path / "o",
        )


def test_moved_pairs_are_moved_alike_and_every_pixel_is_one_of_theirs() -> None:
    pictures = torch.as_tensor(film(0).frames)[None, :2]
    torch.manual_seed(0)
    moved = [random_shift(shown(pictures)).images for _ in range(20)]
    places = torch.stack([centre(x)[0] - centre(pictures)[0] for x in moved])  # (20, 2, 2)
    torch.testing.assert_close(places[:, 0], places[:, 1], atol=0.01, rtol=0)
    assert places.abs().max() == pytest.approx(1 / 16, abs=0.01)


def test_a_mirrored_picture_moves_the_other_way_in_x_only() -> None:
    pictures, action = torch.as_tensor(film(0).frames)[None, :2], torch.tensor([[[0.1, 0.2]]])
    once = flip(shown(pictures, action))
    mirror, moved, _ = once
    assert torch.equal(moved, torch.tensor([[[-0.1, 0.2]]]))
    assert torch.equal(mirror[0, 0, :, 0], pictures[0, 0, :, -1])
    for back, first in zip(flip(once)[:2], (pictures, action), strict=True):
        assert torch.equal(back, first)


def test_a_reversed_pair_moves_back() -> None:
    pictures, action = torch.as_tensor(film(0).frames)[None, :3], torch.rand(1, 2, 2)
    swapped, moved, _ = reverse_time(shown(pictures, action))
    assert torch.equal(moved[0], -action[0, [1, 0]])
    assert torch.equal(swapped[0, 0], pictures[0, 2])


def shown(pictures: torch.Tensor, action: torch.Tensor | None = None) -> Clips:
    action = torch.zeros(len(pictures), 1, 2) if action is None else action
    return Clips(pictures, action, torch.zeros(*pictures.shape[:2], 0, 2))


def centre(pictures: torch.Tensor) -> torch.Tensor:
    """Return where the patch is, (..., 2), shares of the picture."""
    light = pictures.float().sum(-1)
    bright = (light - 0.6 * light.amax((-1, -2), keepdim=True)).clamp(min=0)
    axis = (torch.arange(SIDE) + 0.5) / SIDE
    total = bright.sum((-1, -2))
    x, y = (bright.sum(-2) * axis).sum(-1) / total, (bright.sum(-1) * axis).sum(-1) / total
    return torch.stack([x, y], -1)


def test_augmented_pairs_show_the_action_they_are_given() -> None:
    data = windows([film(0)], 3, dtype=torch.float32, input_type="pixels")
    pictures = data.motion[..., :-1].unflatten(2, (SIDE, SIDE, 3))
    torch.manual_seed(0)
    known = Clips(pictures, data.action[:, 1:], centre(pictures)[:, :, None])
    changed, action, points = augment(known, WRIST_JOINTS)
    torch.testing.assert_close(centre(changed), points[:, :, 0], atol=0.01, rtol=0)
    assert not torch.equal(action, data.action[:, 1:])
    torch.testing.assert_close(centre(changed).diff(dim=1), action, atol=0.01, rtol=0)


def test_an_arm_is_never_mirrored() -> None:
    pictures = torch.arange(64 * 2 * 4 * 4 * 3).reshape(64, 2, 4, 4, 3) % 256
    action = augment(shown(pictures, torch.ones(64, 1, 2)), ("joint_1", "joint_2")).action
    assert set(map(tuple, action[:, 0].tolist())) == {(1.0, 1.0), (-1.0, -1.0)}


def test_videos_are_split_by_participant_or_video_or_in_time_and_never_by_row() -> None:
    many = [film(k, 10, f"P0{k // 2}/P0{k // 2}_{k}") for k in range(8)]
    parted = split(many)
    assert parted.group_by == "participant"
    people = [{t.source[:3] for t in part} for part in (parted.train, parted.test)]
    assert not people[0] & people[1]
    pieces = [t[a : a + 5] for t in many[:3] for a in (0, 5)]
    pieces = [replace(t, source=t.source[4:]) for t in pieces]
    parted = split(pieces)
    assert parted.group_by == "video"
    assert not {t.source for t in parted.train} & {t.source for t in parted.test}
    assert len(parted.train) + len(parted.test) == 6


def test_few_clips_are_split_at_one_time_for_every_gap() -> None:
    whole = replace(film(0, 40), source="clip")
    gaps = [whole, whole[::2], whole[1::2]]
    parted = split(gaps)
    assert parted.group_by == "time"
    assert max(t.time[-1] for t in parted.train) < min(t.time[0] for t in parted.test)


def test_pictures_verbs_and_sources_survive_the_disk(tmp_path: Path) -> None:
    films = [film(0, 5, "P01/P01_01", 3), film(1, 4, "P02/P02_01")]
    films = [replace(f, points=place_of(f)) for f in films]
    write_dataset(tmp_path / "data", films, "wrist", 10.0)
    for before, after in zip(films, read_dataset(tmp_path / "data").trajectories, strict=True):
        assert np.array_equal(before.frames, after.frames)
        assert (before.source, before.verb) == (after.source, after.verb)
        np.testing.assert_array_equal(before.action, after.action)
        np.testing.assert_array_equal(before.points, after.points)
        assert after.position.shape == (0, 2)


def test_pictures_without_labels_are_a_dataset_too(tmp_path: Path) -> None:
    write_dataset(tmp_path / "data", [film(0, 5, labelled=False)], "wrist", 10.0)
    (read,), info = read_dataset(tmp_path / "data")
    assert (len(read.action), len(read.frames), info.joint_names) == (0, 5, ())


def test_a_motion_family_refuses_a_video_and_a_video_family_refuses_motion(tmp_path: Path) -> None:
    from oracle import exciting, robot

    write_dataset(tmp_path / "film", [film(k, 20) for k in range(5)], "wrist", 10.0)
    with pytest.raises(ValueError, match="is a video without motion"):
        train(
            parse_config({"family": "mlp", "action_delay": 0.0}, ""),
            tmp_path / "film",
            tmp_path / "o",
        )
    ur5 = robot("ur5")
    write_dataset(tmp_path / "arm", [exciting(ur5, k) for k in range(5)], "ur5", ur5.rate)
    with pytest.raises(ValueError, match="family cnn reads pictures and the data have none"):
        train(parse_config({"family": "cnn"}, ""), tmp_path / "arm", tmp_path / "o")
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize("family", OF_VIDEO)
def test_family_learns_a_moving_patch_and_its_report_says_so(family: str, tmp_path: Path) -> None:
    films = [film(k, 30, f"video_{k}") for k in range(9)]
    write_dataset(tmp_path / "data", films, "wrist", 10.0)
    fields = {"family": family, "epochs": 15, "batch_size": 8, "learning_rate": 2e-3}
    if family == "keypoints":  # a fifth of the windows
        fields |= {"epochs": 75, "channels": [8, 16, 24], "num_keypoints": 8, "width": 64}
    model = train(parse_config(fields, ""), tmp_path / "data", tmp_path / "out")
    report = evaluate(model, read_dataset(tmp_path / "data").trajectories)
    rows = report["baselines"]
    assert report["split"]["group_by"] == "video"
    assert report["nmse"]["mean"] < 0.3 < 0.8 < rows["untrained"]["nmse"]["mean"]
    assert {"zero", "mean", "hold_last"} < rows.keys()
    assert report["split"]["test"] == 2 * 29  # the first picture of a video has none before it


def test_plots_of_a_video_show_its_actions_beside_it(tmp_path: Path) -> None:
    model = make("cnn")
    known = {"target_mean": [0.0, 0.0], "samples": {"train": 0}}
    model.meta = replace(model.meta, data=known)
    plot_evaluation(tmp_path, model, predict_split(model, [film(1, 11)]))
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["actions_0.png", "video_0.mp4"]
    info = read_video_info(tmp_path / "video_0.mp4")
    assert (info.width, info.height) == (1280, 720)
    assert info.duration == pytest.approx(1.0, abs=0.01)  # ten actions at ten a second


def test_same_seed_gives_the_same_weights_on_video(tmp_path: Path) -> None:
    write_dataset(tmp_path / "data", [film(k, 20, f"v{k}") for k in range(5)], "wrist", 10.0)
    config = parse_config({"family": "cnn", "epochs": 2, "batch_size": 16}, "")
    one, two = (train(config, tmp_path / "data", tmp_path / name) for name in ("one", "two"))
    for name, value in one.state_dict().items():
        assert torch.equal(value, two.state_dict()[name]), name


def test_a_velocity_is_what_moved_by_how_long_it_took() -> None:
    model, (pixels, time) = make("keypoints"), seen(3)
    model.meta = replace(model.meta, action_unit="rad/s")
    fast, slow = (model.predict(pixels, x * time).mean[:, 1:] for x in (1.0, 2.0))
    torch.testing.assert_close(slow, fast / 2)


def test_windows_of_a_stride_meet_and_the_last_ends_where_its_trajectory_does() -> None:
    whole = film(0, 12)
    cut = windows([whole], 4, stride=3, input_type="pixels").action.numpy()
    wanted = [whole.action[k : k + 4] for k in (0, 3, 6, 8)]
    np.testing.assert_array_equal(cut, np.stack(wanted))
