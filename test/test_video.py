from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from synthetic_videos import draw_patch, patch_video

from invdyn_ros.cli import run_verb
from invdyn_ros.data.dataset import read_dataset
from invdyn_ros.evaluation.plots.video_writer import VideoWriter
from invdyn_ros.models.augmentation import WRIST_JOINTS
from invdyn_ros.perception.wrist_tracker import nearest_wrist
from invdyn_ros.sources import epic_kitchens as epic
from invdyn_ros.sources.video import (
    Clip,
    VideoConfig,
    VideoFrames,
    label_quality,
    read_videos,
    video_episodes,
)

SHARED = Path(__file__).parents[2] / "shared" / "data"
ANNOTATIONS = SHARED / "epic" / "EPIC_100_uda_source_train_P01_01.csv"
HAND = SHARED / "hands" / "hand.mp4"
ROWS = [
    ("P01", "P01_01", 8, 20, "00:00:00.33", 3),
    ("P01", "P01_01", 31, 42, "00:00:00.70", 6),
    ("P02", "P02_101", 1, 10, "00:00:00.20", 0),
]


def annotate(file: Path, rows: list[tuple] = ROWS, leave_out: str = "") -> Path:
    names = ["participant_id", "video_id", "start_frame", "stop_frame", "stop_timestamp"]
    names.append("verb_class")
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        column_indices = [k for k, name in enumerate(names) if name != leave_out]
        writer.writerow([names[k] for k in column_indices])
        writer.writerows([[row[k] for k in column_indices] for row in rows])
    return file


def render(root: Path, source: str, start: int, stop: int) -> None:
    """Write frames as EPIC-KITCHENS publishes them, each of its own brightness."""
    folder = root / source
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(start, stop + 1):
        image = np.full((48, 64, 3), number % 256, np.uint8)
        Image.fromarray(image).save(folder / f"frame_{number:010d}.jpg", quality=95)


@pytest.fixture
def kitchen(tmp_path: Path) -> Path:
    """Frame folders of all of ROWS, with their annotations beside them."""
    for participant, video, start, stop, *_ in ROWS:
        render(tmp_path / "frames", f"{participant}/{video}", start, stop)
    annotate(tmp_path / "train.csv")
    return tmp_path


def collect(kitchen: Path, *arguments: str) -> int:
    common = ["video", str(kitchen / "frames"), "--out", str(kitchen / "out")]
    common += [] if "--workers" in arguments else ["--workers", "1"]
    arguments = arguments if "--labels" in arguments else ("--labels", "none", *arguments)
    return run_verb(
        "collect",
        [*common, "--annotations", str(kitchen / "train.csv"), "--frame-gaps", "3", *arguments],
    )


def test_frames_are_those_of_the_annotations_with_their_stamps(kitchen: Path) -> None:
    assert collect(kitchen, "--image-size", "16") == 0
    trajectories = read_dataset(kitchen / "out").trajectories
    sources = [t.recording for t in trajectories]
    assert sources == ["P01/P01_01"] * 6 + ["P02/P02_101"] * 3  # a gap of 3 has three phases
    assert [t.verb for t in trajectories] == [3, 3, 3, 6, 6, 6, 0, 0, 0]
    for t in trajectories:
        numbers = t.frames[:, 8, 8, 0]
        rate = 42 / 0.7 if t.verb else 10 / 0.2
        assert np.all(np.diff(numbers) == 3)
        np.testing.assert_allclose(t.time, (numbers - 1.0) / rate)
    values = np.concatenate([t.frames[:, 8, 8, 0] for t in trajectories[:3]])
    assert sorted(values) == list(range(8, 21))  # stop_frame is one of them


@pytest.mark.skipif(not ANNOTATIONS.is_file(), reason=f"no {ANNOTATIONS.name} beside the project")
def test_published_annotations_are_read_as_they_are(tmp_path: Path) -> None:
    segments = epic.read_annotations(ANNOTATIONS)
    assert (segments[0].source, segments[0].start, segments[0].stop) == ("P01/P01_01", 8, 202)
    # the video itself has 59.94 Hz, but its frames were published at 60
    assert epic.frame_rates(segments)["P01_01"] == pytest.approx(60, abs=0.01)
    first = segments[0]
    render(tmp_path, first.source, first.start, first.stop)
    frames = list(epic.read_frames(tmp_path, first, 1, 60.0))
    assert [len(frames), frames[0].index, frames[-1].index] == [195, 8, 202]
    assert frames[-1].time == pytest.approx(3.37, abs=0.03)  # the stop_timestamp of the file


@pytest.mark.parametrize("fault", ["folder", "frame", "torn", "test", "number", "empty", "gone"])
def test_damaged_epic_kitchens_data_give_a_one_line_error_and_no_files(
    fault: str, kitchen: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frame = kitchen / "frames" / "P01" / "P01_01" / "frame_0000000032.jpg"
    if fault == "folder":
        (kitchen / "frames" / "P02").rename(kitchen / "frames" / "P03")
        output = "no frame folder"
    elif fault == "frame":
        frame.unlink()
        output = "frame_0000000032.jpg is missing; extract the frames of P01_01 again"
    elif fault == "torn":
        frame.write_bytes(frame.read_bytes()[:-40])
        output = "frame_0000000032.jpg is damaged"
    elif fault == "test":
        annotate(kitchen / "train.csv", leave_out="verb_class")
        output = "no column 'verb_class'; a test file has no labels"
    elif fault == "number":
        annotate(kitchen / "train.csv", [("P01", "P01_01", "x", 20, "00:00:01.0", 3)])
        output = "row 1: invalid literal"
    elif fault == "empty":
        annotate(kitchen / "train.csv", [])
        output = "has no segments"
    else:
        (kitchen / "train.csv").unlink()
        output = "cannot read annotations"
    before = sorted(kitchen.iterdir())
    assert collect(kitchen) == 2
    printed = capsys.readouterr().err
    assert output in printed.splitlines()[-1] and printed.count("\n") <= 2  # after the bar
    assert sorted(kitchen.iterdir()) == before


def video_frames(frames: int, unlabelled: tuple[int, ...] = ()) -> VideoFrames:
    """Return frames of a wrist at constant velocity, without a detection in some frames."""
    wrist = np.stack([0.01 * np.arange(frames), 0.5 - 0.005 * np.arange(frames)], axis=1)
    wrist[list(unlabelled)] = np.nan
    images = np.zeros((frames, 16, 16, 3), np.uint8)
    images += np.arange(frames, dtype=np.uint8)[:, None, None, None]
    return VideoFrames(np.arange(frames) / 30, images, wrist, WRIST_JOINTS)


def test_no_episode_spans_a_frame_without_a_wrist() -> None:
    trajectories = list(
        video_episodes(
            Clip("clip", 255, tuple),
            video_frames(20, unlabelled=(7, 8)),
            VideoConfig(frame_gaps=(2,)),
        )
    )
    for t in trajectories:
        numbers = t.frames[:, 0, 0, 0].astype(int)
        assert np.all(np.diff(numbers) == 2)
        assert set(numbers) <= set(range(7)) or set(numbers) <= set(range(9, 20))
        np.testing.assert_allclose(t.time, numbers / 30)  # stamps are those of the source
    assert sum(map(len, trajectories)) == 18


@pytest.mark.parametrize("gap", [1, 2, 4])
def test_an_action_is_the_displacement_over_its_gap(gap: int) -> None:
    trajectories = list(
        video_episodes(Clip("clip", 255, tuple), video_frames(20), VideoConfig(frame_gaps=(gap,)))
    )
    assert len(trajectories) == gap
    for t in trajectories:
        np.testing.assert_allclose(t.action[0], 0.0)
        np.testing.assert_allclose(t.action[1:], np.tile([0.01, -0.005], (len(t) - 1, 1)) * gap)
        assert (t.joint_names, t.action_unit, len(t.position)) == (WRIST_JOINTS, "1", 0)
        np.testing.assert_allclose(t.points[:, 0], video_frames(20).position[t.frames[:, 0, 0, 0]])


def test_quality_is_the_labelled_fraction_and_the_noise_of_the_wrist() -> None:
    rng, time = np.random.default_rng(0), np.arange(3000)[:, None] / 30
    wrist = 0.5 + 0.2 * np.sin(time * [1.0, 1.5]) + 0.003 * rng.standard_normal((3000, 2))
    wrist[::10] = np.nan
    quality = label_quality([wrist])
    assert quality.labelled_fraction == pytest.approx(0.9)
    assert quality.jitter == pytest.approx(0.003, rel=0.1)


def test_another_hand_is_not_tracked() -> None:
    wrists = np.array([[0.8, 0.5], [0.31, 0.5]])
    np.testing.assert_array_equal(nearest_wrist(wrists, np.array([0.3, 0.5]), 0.15), wrists[1])
    np.testing.assert_array_equal(nearest_wrist(wrists, None, 0.15), wrists[0])
    assert nearest_wrist(wrists[:1], np.array([0.3, 0.5]), 0.15) is None
    assert nearest_wrist(wrists[:0], None, 0.15) is None


def test_video_file_accounts_for_every_frame(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "patch.mp4", 64, 64) as video:
        for k in range(12):
            video.add(draw_patch(np.array([0.2 + 0.05 * k, 0.5]), 0, 64))
    config = VideoConfig(frame_gaps=(2, 4), labels="none", image_size=32)
    intake, quality = read_videos(tmp_path / "patch.mp4", config)
    assert quality is None
    assert "12 rows in, 24 rows in 6 episodes out" in intake.summary()
    assert {t.recording for t in intake.trajectories} == {"patch"}
    assert {round(t.rate, 6) for t in intake.trajectories} == {5.0, 10.0}


def test_images_without_a_hand_give_nothing_to_write(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with VideoWriter(tmp_path / "empty.mp4", 64, 64) as video:
        for image in patch_video(0, 5).frames:
            video.add(np.kron(image, np.ones((2, 2, 1), np.uint8)))
    arguments = ["video", str(tmp_path / "empty.mp4"), "--out", str(tmp_path / "out")]
    assert run_verb("collect", arguments) == 2
    assert "nothing to write: 5 rows in, 0 rows in 0 episodes out; -5 images without a label" in (
        capsys.readouterr().err
    )
    assert not (tmp_path / "out").exists()


def write_actions(
    kitchen: Path, rows: list[str], head: str = "video,frame,grip,turn"
) -> list[str]:
    """Write actions of frames; return the arguments that name the file."""
    (kitchen / "actions.csv").write_text("\n".join([head, *rows]) + "\n")
    return ["--labels", "csv", "--actions", str(kitchen / "actions.csv")]


def test_csv_actions_are_summed_over_the_gap_and_missing_ones_end_an_episode(
    kitchen: Path,
) -> None:
    rows = [f"P01_01,{k},{0.1 * k},1" for k in range(8, 21) if k != 15]
    assert collect(kitchen, *write_actions(kitchen, rows)) == 0
    trajectories, info = read_dataset(kitchen / "out")
    assert info.joint_names == ("grip", "turn")
    for t in trajectories:
        numbers = t.frames[:, 8, 8, 0].astype(float)
        assert (numbers < 15).all() or (numbers > 15).all()
        np.testing.assert_allclose(t.action[1:, 1], 3.0)
        np.testing.assert_allclose(t.action[1:, 0], 0.1 * (3 * numbers[1:] - 3), atol=1e-9)


@pytest.mark.parametrize(
    ("rows", "head", "output"),
    [
        (["P01_01,8,x,1"], "video,frame,grip,turn", "row 1: could not convert string to float"),
        (["P01_01,8,1,1"] * 2, "video,frame,grip,turn", "row 2: frame 8 appears twice"),
        (["P01_01,8,nan,1"], "video,frame,grip,turn", "is not finite; leave the row out"),
        (["8,1"], "frame,grip", "has columns frame, grip; expected are video, frame and one per"),
    ],
)
def test_bad_actions_give_a_one_line_error(
    rows: list[str], head: str, output: str, kitchen: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert collect(kitchen, *write_actions(kitchen, rows, head)) == 2
    assert output in capsys.readouterr().err
    assert not (kitchen / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "output"),
    [
        (["--frame-gaps", "3", "--frame-step", "2"], "gap 3 is not a multiple of frame_step 2"),
        (["--labels", "csv"], "give both --labels csv and --actions FILE.csv, or neither"),
        (["--image-size", "8"], "image_size is 8; it must be greater than or equal to 16"),
    ],
)
def test_inconsistent_settings_are_refused(
    arguments: list[str], output: str, kitchen: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert collect(kitchen, *arguments) == 2
    assert output in capsys.readouterr().err


def test_any_number_of_workers_reads_the_same_videos(kitchen: Path) -> None:
    contents = []
    for workers in ("1", "2"):
        out = kitchen / "out"
        assert collect(kitchen, "--workers", workers, "--overwrite") == 0
        files = sorted(path for path in out.rglob("*") if path.is_file())
        contents.append([(f.relative_to(out), f.read_bytes()) for f in files])
    assert len(contents[0]) > 2 and contents[0] == contents[1]


def test_a_folder_without_videos_names_the_remedy(
    kitchen: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["video", str(kitchen / "frames"), "--out", str(kitchen / "out")]
    assert run_verb("collect", arguments) == 2
    assert "need --annotations FILE.csv" in capsys.readouterr().err


@pytest.mark.skipif(not HAND.is_file(), reason=f"no {HAND.name} beside the project")
def test_the_wrist_of_a_real_hand_is_detected(tmp_path: Path) -> None:
    intake, quality = read_videos(
        HAND, VideoConfig(frame_gaps=(30,), frame_step=30, image_size=16)
    )
    assert quality is not None
    assert quality.labelled_fraction > 0.9
    assert 0 < np.abs(np.concatenate([t.action for t in intake.trajectories])).max() < 0.15
