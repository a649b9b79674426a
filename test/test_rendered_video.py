from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from oracle import robot

from invdyn_ros.cli import run_verb
from invdyn_ros.data.dataset import read_dataset, write_dataset
from invdyn_ros.data.lerobot_format import POINTS
from invdyn_ros.data.trajectory import Trajectory
from invdyn_ros.sources.rendered_video import RenderedVideoConfig, render_videos

CONFIG = RenderedVideoConfig(motions=2, views=2, seconds=3.0, rate=10.0, image_size=32)


@pytest.fixture(scope="module")
def videos() -> list[Trajectory]:
    return list(render_videos(robot("ur5"), CONFIG))


def test_actions_are_the_commanded_velocities_that_the_arm_follows(
    videos: list[Trajectory],
) -> None:
    for t in videos:
        assert (t.action_unit, t.joint_names) == ("rad/s", robot("ur5").joint_names)
        np.testing.assert_allclose(np.diff(t.time), 0.1)
        measured = np.diff(t.position, axis=0) / 0.1
        assert np.corrcoef(t.action[1:].ravel(), measured.ravel())[0, 1] > 0.9
        assert not t.action[0].any()


def test_every_video_has_its_own_camera_and_colors(videos: list[Trajectory]) -> None:
    starts = [t.frames[0].astype(float) for t in videos]
    for k, start in enumerate(starts):
        assert all(np.abs(start - other).mean() > 10 for other in starts[:k])


def test_videos_of_a_motion_stay_together(videos: list[Trajectory]) -> None:
    assert [t.recording for t in videos] == ["ur5_0000"] * 2 + ["ur5_0001"] * 2
    assert np.array_equal(videos[0].action, videos[1].action)


def test_rendered_images_contain_the_motion(videos: list[Trajectory]) -> None:
    t = max(videos, key=lambda t: np.abs(t.action).max())
    still = np.abs(t.frames[1].astype(float) - t.frames[0]).mean()  # it starts at rest: noise
    moved = np.abs(t.frames[len(t) // 2].astype(float) - t.frames[0]).mean()
    assert moved > 1.5 * still


def test_points_are_where_the_arm_is(videos: list[Trajectory]) -> None:
    for t in videos:
        assert t.points.shape == (len(t), robot("ur5").n + 3, 2)
        assert t.points[:, 0].std(0).max() < 1e-9  # the first joint stands still
        middle = t.points[:, -1] * CONFIG.image_size
        away = np.indices((32, 32)).transpose(1, 2, 0)[..., ::-1] + 0.5 - middle[:, None, None]
        change = np.abs(np.diff(t.frames.astype(float), axis=0)).mean(-1)
        near = np.linalg.norm(away, axis=-1)[1:] < 3
        assert change[near].mean() > 1.4 * change[~near].mean()


DAMAGE: dict[str, tuple[Callable[[list[float]], object], str]] = {
    "half a place": (lambda row: row[1:], "17 numbers per row"),
    "of one row fewer": (lambda row: row[2:] if row[0] > 0.5 else row, "16 or 18 numbers"),
    "no list": (lambda row: row[0], "none numbers per row"),
    "arguments": (lambda row: ["here"] * len(row), "does not hold numbers"),
    "a gap": (lambda row: [None, *row[1:]], "a point is not finite"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damaged_points_are_named(videos: list[Trajectory], tmp_path: Path, name: str) -> None:
    damage, message = DAMAGE[name]
    one, other = videos[0].points.copy(), videos[1].points.copy()
    one[:, 0, 0], other[:, 0, 0] = 0.2, 0.8
    write_dataset(
        tmp_path, [replace(videos[0], points=one), replace(videos[1], points=other)], "ur5", 10.0
    )
    (path,) = tmp_path.glob("data/*/*.parquet")
    table = pq.read_table(path)
    column = pa.array([damage(row) for row in table[POINTS].to_pylist()])
    table = table.set_column(table.column_names.index(POINTS), POINTS, column)
    pq.write_table(table, path)
    with pytest.raises(ValueError, match=message) as raised:
        read_dataset(tmp_path)
    assert str(path) in str(raised.value)


def test_arm_without_dynamics_is_at_the_commanded_positions() -> None:
    (t,) = render_videos(
        robot("ur5"), replace(CONFIG, motions=1, views=1, simulate_dynamics=False)
    )
    np.testing.assert_allclose(np.diff(t.position, axis=0) / 0.1, t.action[1:], atol=1e-9)


@pytest.mark.slow
def test_videos_do_not_depend_on_the_number_of_workers(
    videos: list[Trajectory], tmp_path: Path
) -> None:
    arguments = [
        "rendered-video",
        "--motions",
        "2",
        "--views",
        "2",
        "--seconds",
        "3",
        "--rate",
        "10",
        "--image-size",
        "32",
        "--workers",
        "2",
    ]
    assert run_verb("collect", [*arguments, "--out", str(tmp_path / "data")]) == 0
    for one, two in zip(videos, read_dataset(tmp_path / "data").trajectories, strict=True):
        assert np.array_equal(one.frames, two.frames)
        assert np.array_equal(one.action, two.action)
        assert one.recording == two.recording
