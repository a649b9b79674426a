from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
import torch
from oracle import excitation, robot
from synthetic_videos import SIDE, patch_video

from invdyn_ros.cli import run_verb
from invdyn_ros.data.dataset import Dataset, read_dataset, write_dataset
from invdyn_ros.evaluation.plots.video_writer import VideoWriter
from invdyn_ros.evaluation.pseudo_labels import label_recordings
from invdyn_ros.models.augmentation import WRIST_JOINTS
from invdyn_ros.models.checkpoint import load, save
from invdyn_ros.models.model_metadata import ModelMetadata
from invdyn_ros.models.registry import build
from invdyn_ros.sources.video import read_video
from invdyn_ros.workers import LocalProcesses

FILES = ("data/chunk-000/file-000.parquet", "meta/episodes/chunk-000/file-000.parquet")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the checkpoint of an untrained video network; its predictions are deterministic."""
    torch.manual_seed(0)
    model = build(
        ModelMetadata("cnn", "wrist", WRIST_JOINTS, "1", 10.0, 0.0, "", image_size=(SIDE, SIDE))
    )
    model.get_buffer("pixel_std").fill_(100.0)
    folder = tmp_path_factory.mktemp("models") / "cnn"
    save(model, model.meta, folder)
    return folder


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    """Write five videos of different lengths at 20 frames/s."""
    folder = tmp_path / "videos"
    folder.mkdir()
    for k in range(5):
        with VideoWriter(folder / f"video_{k}.mp4", SIDE, SIDE) as video:
            for frame in patch_video(k, 8 + 2 * k).frames:
                video.add(frame)
    return folder


def content(folder: Path) -> list[bytes]:
    return [(folder / name).read_bytes() for name in FILES]


def test_videos_get_the_actions_that_the_model_predicts_in_order(
    checkpoint: Path, videos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    arguments = ["--checkpoint", str(checkpoint), "--data", str(videos), "--out", str(out)]
    assert run_verb("label", [*arguments, "--workers", "1"]) == 0
    (trajectories, info), model = read_dataset(out), load(checkpoint)
    assert [t.recording for t in trajectories] == [f"video_{k}" for k in range(5)]
    assert [len(t) for t in trajectories] == [4 + k for k in range(5)]  # every second frame
    assert (info.joint_names, info.action_unit, info.rate) == (WRIST_JOINTS, "1", 10.0)
    for t in trajectories:
        expected = model.predict(torch.as_tensor(t.pixels)[None], torch.as_tensor(t.time)[None])
        np.testing.assert_allclose(t.action[1:], expected.mean[0, 1:], atol=1e-6)
        assert not t.action[0].any()
        assert t.action[1:].any()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out", "videos"]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_images_of_a_video_with_a_varying_rate_are_evenly_spaced(
    checkpoint: Path, tmp_path: Path, suffix: str
) -> None:
    """Half a second at 60 images/s, then at 25, as a phone films in the dark."""
    file = tmp_path / f"phone{suffix}"
    times = np.concatenate([np.arange(30) / 60, 0.5 + np.arange(26) / 25])
    constant = tmp_path / "constant.mp4"
    with VideoWriter(constant, SIDE, SIDE) as video:
        for time in times:
            video.add(np.full((SIDE, SIDE, 3), round(150 * time), np.uint8))
    varying = "setpts='if(lt(N,30),N/60,0.5+(N-30)/25)/TB'"
    options = ["-fps_mode", "vfr", "-enc_time_base", "1/600", "-loglevel", "error"]
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-i", constant, "-vf", varying, *options, file]
    subprocess.run(command, check=True)
    trajectory = read_video(file, SIDE, 10.0)
    np.testing.assert_allclose(np.diff(trajectory.time), 0.1, atol=0.03)
    level = trajectory.frames.mean((1, 2, 3)) / 150  # the image is that of its stamp
    np.testing.assert_allclose(level, trajectory.time, atol=0.02)
    (labelled,), _ = _label(checkpoint, file, tmp_path / "out")
    np.testing.assert_allclose(labelled.time, trajectory.time, atol=1e-6)


def _label(checkpoint: Path, data: Path, out: Path) -> Dataset:
    for _ in label_recordings(checkpoint, data, out):
        pass
    return read_dataset(out)


@pytest.mark.slow
def test_any_number_of_workers_and_any_interruption_give_the_same_bytes(
    checkpoint: Path, videos: Path, tmp_path: Path
) -> None:
    assert list(label_recordings(checkpoint, videos, tmp_path / "one")) == [5] * 5
    assert (
        list(label_recordings(checkpoint, videos, tmp_path / "two", LocalProcesses(2))) == [5] * 5
    )
    stopped = label_recordings(checkpoint, videos, tmp_path / "three")
    for _ in range(2):
        next(stopped)
    stopped.close()
    assert not (tmp_path / "three").exists()
    parts = tmp_path / "three.part"
    first = (parts / "000000" / FILES[0]).stat().st_mtime_ns
    remaining = label_recordings(checkpoint, videos, tmp_path / "three")
    next(remaining)
    assert (parts / "000000" / FILES[0]).stat().st_mtime_ns == first  # it was resumed
    assert list(remaining) == [5] * 4
    one, two, three = (content(tmp_path / name) for name in ("one", "two", "three"))
    assert one == two == three


def test_parts_of_another_job_are_not_mixed_in(
    checkpoint: Path, videos: Path, tmp_path: Path
) -> None:
    stopped = label_recordings(checkpoint, videos, tmp_path / "out")
    next(stopped)
    stopped.close()
    (videos / "video_4.mp4").unlink()
    with pytest.raises(ValueError, match=r"out.part belongs to another labelling job"):
        next(label_recordings(checkpoint, videos, tmp_path / "out"))


def test_labelled_dataset_has_its_motion_and_predicted_actions(tmp_path: Path) -> None:
    ur5 = robot("ur5")
    meta = ModelMetadata(
        "rigid_body", "ur5", ur5.joint_names, "N m", ur5.rate, 0.0, ur5.rigid_body_urdf()
    )
    save(build(meta), meta, tmp_path / "model")
    data = [excitation(ur5, seed, seconds=1.0) for seed in range(3)]
    bare = [replace(t, action=t.action[:0]) for t in data]
    write_dataset(tmp_path / "data", bare, "ur5", ur5.rate)
    list(label_recordings(tmp_path / "model", tmp_path / "data", tmp_path / "out"))
    for before, after in zip(data, read_dataset(tmp_path / "out").trajectories, strict=True):
        np.testing.assert_array_equal(before.position, after.position)
        torque = ur5.inverse_dynamics(*np.split(before.motion[10], 3))
        np.testing.assert_allclose(after.action[10], torque, atol=1e-6)


@pytest.mark.parametrize("fault", ["size", "joints", "video", "nothing"])
def test_unsuitable_data_give_a_one_line_error_and_no_files(
    fault: str, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, ur5 = tmp_path / "data", robot("ur5")
    if fault == "size":
        small = replace(patch_video(0, 4), frames=np.zeros((4, 16, 16, 3), np.uint8))
        write_dataset(data, [small], "wrist", 10.0)
        message = "images are 16x16; the model expects 32x32"
    elif fault == "joints":
        write_dataset(data, [excitation(ur5, 0, seconds=1.0)], "ur5", ur5.rate)
        message = "images are 0x0"
    elif fault == "video":
        data.mkdir()
        (data / "a.mp4").write_bytes(b"no video")
        message = "cannot read"
    else:
        message = "no video or folder"
    arguments = [
        "--checkpoint",
        str(checkpoint),
        "--data",
        str(data),
        "--out",
        str(tmp_path / "out"),
    ]
    assert run_verb("label", arguments) == 2
    printed = capsys.readouterr().err
    assert message in printed.splitlines()[-1]
    assert not [p for p in tmp_path.iterdir() if p.name.startswith("out")]
