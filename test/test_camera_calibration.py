"""Calibration of a camera from rendered views of a board, its file, and the board to print."""

from __future__ import annotations

import re
import sys
from functools import cache

import cv2
import numpy as np
import PIL.Image
import pytest
from scipy.spatial.transform import Rotation

from invdyn_ros import cli
from invdyn_ros.benchmarks.lens_images import BACKGROUND, pixel_rays, render_plane, shrink
from invdyn_ros.cli import calibrate, print_board
from invdyn_ros.data.image_codec import encode_image
from invdyn_ros.perception.calibration_board import (
    BoardConfig,
    BoardView,
    CalibrationBoard,
)
from invdyn_ros.perception.calibration_file import (
    load_intrinsics,
    read_calibration,
    to_calibration_yaml,
)
from invdyn_ros.perception.camera import Frame
from invdyn_ros.perception.camera_calibration import NamedView, ViewSelection, calibrate_camera
from invdyn_ros.perception.camera_intrinsics import CameraIntrinsics

NUM_VIEWS = 12
LENSES = {
    "plumb_bob": CameraIntrinsics(
        np.array([[520.0, 0, 311], [0, 524, 248], [0, 0, 1]]),
        "plumb_bob",
        np.array([-0.25, 0.08, 0.001, -0.0015, 0.0]),
        *(640, 480),
    ),
    "equidistant": CameraIntrinsics(
        np.array([[300.0, 0, 325], [0, 302, 236], [0, 0, 1]]),
        "equidistant",
        np.array([-0.02, 0.01, -0.004, 0.001]),
        *(640, 480),
    ),
}
PATTERNS = {"plumb_bob": "charuco", "equidistant": "chessboard"}


@cache
def render_views(model: str) -> list[np.ndarray]:
    """Return images of a board at places all over the image, tilted by up to 40 deg."""
    lens, board = LENSES[model], CalibrationBoard(BoardConfig(PATTERNS[model]))
    rng, rays, pattern = np.random.default_rng(4), pixel_rays(lens), board.draw()
    c, images = board.config, []
    size = c.square * np.array([c.columns, c.rows])
    outline = np.array([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]]) * [*size / 2, 1]
    for k in range(NUM_VIEWS):
        R = Rotation.from_euler("xyz", rng.uniform(-40, 40, 3), degrees=True).as_matrix()
        focal, width = lens.camera_matrix[0, 0], lens.width
        z = rng.uniform(1.8, 2.6) * size[0] * focal / width  # about half as wide as the image
        x, y = np.array([k % 3 - 1, k // 3 % 3 - 1]) * [0.16, 0.11] * width * z / focal
        position = np.array([x, y, z])
        canvas = np.full(rays.shape[:2], BACKGROUND, np.uint8)
        render_plane(canvas, rays, pattern, outline @ R.T + position)
        images.append(shrink(canvas))
    return images


@pytest.mark.parametrize("model", LENSES)
def test_intrinsics_of_rendered_views_are_those_of_the_lens(model):
    lens, board = LENSES[model], CalibrationBoard(BoardConfig(PATTERNS[model]))
    images = render_views(model)
    selection = ViewSelection(board, lens.width)
    for k, image in enumerate(images):
        view = board.detect(image[..., 0])
        if view is not None:
            selection.add(str(k), view)
    assert len(selection.views) >= 10
    calibration = calibrate_camera(board, selection.views, lens.size, lens.distortion_model)
    k, true = calibration.intrinsics.camera_matrix, lens.camera_matrix
    np.testing.assert_allclose(k[[0, 1], [0, 1]], true[[0, 1], [0, 1]], rtol=0.005)
    np.testing.assert_allclose(k[:2, 2], true[:2, 2], atol=2.0)
    assert calibration.rms_error < 0.2 and not calibration.rejected
    corners = np.concatenate([view.corners for _, view in selection.views])
    rays = lens.undistort(corners)
    shift = calibration.intrinsics.project(rays) - lens.project(rays)
    assert np.abs(shift - shift.mean(axis=0)).max() < 1.0, "the lens differs, not only its center"


def test_view_that_contradicts_the_others_is_rejected():
    """Its corners are those of a board that is bent."""
    lens, board = LENSES["plumb_bob"], CalibrationBoard(BoardConfig())
    views, rng = [], np.random.default_rng(1)
    for k in range(10):
        R = Rotation.from_euler("xyz", rng.uniform(-40, 40, 3), degrees=True).as_matrix()
        deflection = 0.01 * np.cos(60 * board.points[:, :1]) * [0, 0, 1] * (k == 3)
        points = (board.points + deflection - [0.1, 0.08, 0]) @ R.T + [0, 0, 0.35]
        corners = lens.project(points) + rng.normal(0, 0.1, (len(points), 2))
        views.append(NamedView(f"{k}.png", BoardView(np.arange(len(points)), corners)))
    calibration = calibrate_camera(board, views, lens.size, "plumb_bob")
    assert [name for name, _ in calibration.rejected] == ["3.png"]
    assert calibration.rms_error == pytest.approx(0.1 * np.sqrt(2), rel=0.1)
    np.testing.assert_allclose(calibration.intrinsics.camera_matrix[0, 0], 520, rtol=0.01)
    flat = [views[0]._replace(name=str(k)) for k in range(9)]
    with pytest.raises(ValueError, match=r"tilt the board"):
        calibrate_camera(board, flat, lens.size, "plumb_bob")


def test_command_calibrates_from_a_folder_and_names_what_it_does_not_use(tmp_path, capsys):
    images = render_views("plumb_bob")
    folder, file = tmp_path / "images", tmp_path / "new" / "camera.yaml"
    folder.mkdir()
    for k, image in enumerate([np.full_like(images[0], 90), *images, images[2]]):
        (folder / f"{k:02}.png").write_bytes(encode_image(image))
    arguments = ["camera", str(folder), "--out", str(file)]
    assert calibrate.main([*arguments, "--plot", str(file.with_suffix(".png"))]) == 0
    output = capsys.readouterr().out
    assert (
        "14 images: 12 different views, 1 like another one, 1 without the board (00.png)" in output
    )
    assert re.search(r"reprojection error 0\.\d+ px RMS in \d+ views", output)
    assert re.search(r"corners in \d+% of the image", output)
    assert file.with_suffix(".png").stat().st_size > 10_000
    intrinsics = read_calibration(file)
    assert intrinsics.size == (640, 480)
    np.testing.assert_allclose(intrinsics.camera_matrix[0, 0], 520, rtol=0.005)
    for old in sorted(folder.iterdir())[5:]:
        old.unlink()
    with pytest.raises(ValueError, match=r"^4 different views of the board are too few, 8 are"):
        calibrate.main([*arguments, "--overwrite"])
    PIL.Image.fromarray(images[0][:240]).save(folder / "99.png")
    with pytest.raises(ValueError, match=r"99\.png has 640x240 pixels, the images before 640x480"):
        calibrate.main([*arguments, "--overwrite"])
    with pytest.raises(ValueError, match="either a folder or video"):
        calibrate.main(["camera", "--out", str(file), "--overwrite"])


@pytest.mark.parametrize("pattern", ["charuco", "chessboard"])
def test_printed_board_has_true_scale(tmp_path, monkeypatch, pattern):
    pdf, png = tmp_path / "board.pdf", tmp_path / "board.png"
    options = ["--pattern", pattern, "--square", "0.025", "--marker", "0.0185"]
    assert print_board.main(["--out", str(pdf), *options]) == 0
    monkeypatch.setattr(sys, "argv", ["invdyn", "print-board", "--out", str(png), *options])
    with pytest.raises(SystemExit, match="0"):
        cli.main()
    box = re.search(rb"/MediaBox \[\s*0 0 ([\d.]+) ([\d.]+)", pdf.read_bytes())
    np.testing.assert_allclose([float(v) / 72 * 25.4 for v in box.groups()], [297, 210], atol=0.1)
    with PIL.Image.open(png) as image:
        np.testing.assert_allclose(image.info["dpi"], 254, rtol=1e-3)
        pixels = np.asarray(image.convert("L"))
    board = CalibrationBoard(BoardConfig(pattern, square=0.025, marker=0.0185))
    view = board.detect(cv2.resize(pixels, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA))
    assert len(view.ids) == len(board.points) == 48
    millimetres = np.linalg.norm(view.corners[:, None] - view.corners[None], axis=2) / 2.5
    true = np.linalg.norm(board.points[view.ids, None] - board.points[None, view.ids], axis=2)
    np.testing.assert_allclose(millimetres, 1e3 * true, atol=0.15)


def test_board_that_does_not_fit_is_refused(tmp_path):
    with pytest.raises(
        ValueError, match=r"a board of 450 x 350 mm does not fit on a4; take fewer"
    ):
        print_board.main(["--out", str(tmp_path / "b.pdf"), "--square", "0.05"])
    with pytest.raises(ValueError, match=r"marker 0\.03 m does not fit into square"):
        BoardConfig(marker=0.03)


FILE = """image_width: 1280
image_height: 720
camera_name: head_camera
camera_matrix:
  rows: 3
  cols: 3
  data: [900.5, 0, 640.25, 0, 901.5, 360.75, 0, 0, 1]
distortion_model: plumb_bob
distortion_coefficients:
  rows: 1
  cols: 5
  data: [-0.28, 0.07, 0.0005, -1e-4, 0]
rectification_matrix:
  rows: 3
  cols: 3
  data: [1, 0, 0, 0, 1, 0, 0, 0, 1]
projection_matrix:
  rows: 3
  cols: 4
  data: [880, 0, 642, 0, 0, 885, 361, 0, 0, 0, 1, 0]
"""


def test_file_of_camera_info_manager_is_read_and_written(tmp_path):
    file = tmp_path / "head.yaml"
    file.write_text(FILE)
    intrinsics = read_calibration(file)
    assert intrinsics.size == (1280, 720) and intrinsics.distortion_model == "plumb_bob"
    np.testing.assert_array_equal(intrinsics.camera_matrix[:2, 2], [640.25, 360.75])
    np.testing.assert_array_equal(intrinsics.distortion, [-0.28, 0.07, 0.0005, -1e-4, 0])
    assert intrinsics.projection_matrix[0, 0] == 880
    file.write_text(to_calibration_yaml(intrinsics, "head_camera"))
    again = read_calibration(file)
    for name in ("camera_matrix", "distortion", "rectification", "projection_matrix", "size"):
        np.testing.assert_array_equal(getattr(again, name), getattr(intrinsics, name))
    image = np.zeros((270, 480, 3), np.uint8)
    scaled = load_intrinsics(str(file), Frame(image, 0.0, 0, (1280, 720)))
    np.testing.assert_allclose(scaled.camera_matrix[0], [900.5 * 0.375, 0, 640.75 * 0.375 - 0.5])
    assert scaled.size == (480, 270) and scaled.projection_matrix[0, 0] == 330
    with pytest.raises(ValueError, match=r"is of images of 1280x720, the camera gives 640x360"):
        load_intrinsics(str(file), Frame(image, 0.0, 0, (640, 360)))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("plumb_bob", "omni", "distortion model 'omni' with 5 coefficients is not supported"),
        ("900.5", "0", "camera_matrix is .*positive focal length"),
        ("cols: 5", "cols: 4", "distortion_coefficients is 1 x 4 with 5 values"),
        ("image_width: 1280\n", "", "image_width"),
        ("-0.28", ".nan", "nan|finite|lens"),
        ("rows: 1", "rows: -1", "rows is -1"),
        ("880", "0", "projection_matrix is .*positive focal length"),
        ("[1, 0, 0, 0, 1, 0,", "[0, 0, 0, 0, 0, 0,", "rectification_matrix is .*rotation"),
        (FILE, "fx: 500\nfy: 500\n", "image_width.*; give a file of 'invdyn calibrate camera'"),
    ],
)
def test_file_that_cannot_be_used_is_refused_in_one_line(tmp_path, old, new, words):
    file = tmp_path / "head.yaml"
    file.write_text(FILE.replace(old, new))
    with pytest.raises(ValueError, match=words) as error:
        read_calibration(file)
    assert str(file) in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("model", [*LENSES, "rational_polynomial"])
def test_points_are_found_again_from_their_pixels(model):
    d = [0.4, 0.1, 0.001, -0.002, 0.02, 0.9, 0.2, 0.05]
    k = LENSES["plumb_bob"].camera_matrix
    lens = LENSES.get(model) or CameraIntrinsics(k, model, np.array(d), 640, 480)
    points = np.random.default_rng(0).uniform([-0.4, -0.3, 0.9], [0.4, 0.3, 1.1], (50, 3))
    rays = lens.undistort(lens.project(points))
    np.testing.assert_allclose(rays, points / points[:, 2:], atol=2e-4)
    if model == "equidistant":
        theirs = cv2.fisheye.projectPoints(
            points[:, None], np.zeros(3), np.zeros(3), lens.camera_matrix, lens.distortion
        )[0][:, 0]
        np.testing.assert_allclose(lens.project(points), theirs, atol=1e-9)
        beside = lens.project(np.array([[1.0, 0, 0]]))
        assert 700 < beside[0, 0] < 900 and beside[0, 1] == 236, "90 deg has an image, too"


def test_intrinsics_of_a_part_of_the_image_project_to_the_same_place():
    lens = LENSES["plumb_bob"]
    point = np.array([0.05, 0.02, 0.5])
    part = lens.resampled((100, 60), (0.5, 0.25), (200, 80))
    np.testing.assert_allclose(
        part.project(point), (lens.project(point) - [100, 60] + 0.5) * [0.5, 0.25] - 0.5
    )
    assert part.size == (200, 80)
