"""Printed nets of blocks: true scale, detectable, and folded to the block that is detected."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from scipy.spatial.transform import Rotation

from invdyn_ros.cli import print_block
from invdyn_ros.perception.aruco_cube import detect_markers_opencv, marker_corners
from invdyn_ros.robots.block_markers import BlockMarkers

MM_PER_INCH = 25.4


def marker_quads(page: Image.Image, dictionary: str) -> dict[int, np.ndarray]:
    """Return the corners (4, 2) [m] of each marker on a page, x to the right and y upwards."""
    detection = detect_markers_opencv(np.asarray(page.convert("L")), dictionary=dictionary)
    metres = 1e-3 * MM_PER_INCH / page.info["dpi"][0]
    quads = (detection.corners + 0.5) * metres * (1, -1)
    return dict(zip(detection.ids.tolist(), quads, strict=True))


def fold(quads: dict[int, np.ndarray], top: int, side: float) -> dict[int, np.ndarray]:
    """Fold paper along all lines between neighbouring faces; return the corners (4, 3) [m].

    Faces are found by the distance of their middles; the top stays in the plane of the page.
    """
    middles = {marker: quad.mean(axis=0) for marker, quad in quads.items()}
    folds = {top: np.eye(4)}
    waiting = [top]
    while waiting:
        parent = waiting.pop(0)
        for child in quads.keys() - folds.keys():
            step = middles[child] - middles[parent]
            if not np.isclose(np.linalg.norm(step), side, rtol=0.02):
                continue
            hinge = np.append((middles[child] + middles[parent]) / 2 - middles[top], side / 2)
            way = np.append(step / np.linalg.norm(step), 0.0)
            turn = Rotation.from_rotvec(np.pi / 2 * np.cross([0, 0, 1], way)).as_matrix()
            T = np.eye(4)
            T[:3, :3], T[:3, 3] = turn, hinge - turn @ hinge
            folds[child] = folds[parent] @ T
            waiting.append(child)
    flat = {m: np.column_stack([q - middles[top], np.full(4, side / 2)]) for m, q in quads.items()}
    return {m: flat[m] @ T[:3, :3].T + T[:3, 3] for m, T in folds.items()}


@pytest.mark.parametrize(
    ("dictionary", "ids", "size"),
    [("DICT_4X4_50", (6, 7, 8, 9, 10, 11), 0.04), ("DICT_6X6_250", (9, 200, 7, 31, 4, 100), 0.03)],
)
def test_folded_print_is_the_block_that_is_detected(
    tmp_path: Path, dictionary: str, ids: tuple[int, ...], size: float
) -> None:
    file, png = tmp_path / "blocks.yaml", tmp_path / "net.png"
    blocks = [{"name": "a", "markers": list(ids)}]
    file.write_text(yaml.safe_dump({"dictionary": dictionary, "size": size, "blocks": blocks}))
    assert print_block.main(["--blocks", str(file), "--out", str(png)]) == 0
    quads = marker_quads(Image.open(png), dictionary)
    assert sorted(quads) == sorted(ids)
    folded = fold(quads, ids[0], size)
    for face, corners in enumerate(marker_corners(size)):
        np.testing.assert_allclose(folded[ids[face]], corners, atol=3e-4)


def test_pdf_has_a_page_of_true_size_for_each_block(tmp_path: Path) -> None:
    file, pdf = tmp_path / "blocks.yaml", tmp_path / "nets.pdf"
    blocks = [
        {"name": "a", "markers": list(BlockMarkers.numbered(0).ids)},
        {"name": "b", "markers": [6, None, None, None, None, None]},
    ]
    file.write_text(yaml.safe_dump({"blocks": blocks}))
    assert print_block.main(["--blocks", str(file), "--out", str(pdf)]) == 0
    text = pdf.read_bytes()
    assert text.count(b"/MediaBox") == 2
    box = text.split(b"/MediaBox [")[1].split(b"]")[0].split()
    points = [float(value) for value in box[2:]]
    np.testing.assert_allclose(points, np.array([210, 297]) / MM_PER_INCH * 72, atol=0.1)
    with pytest.raises(ValueError, match="has one page, for 2 blocks"):
        print_block.main(["--blocks", str(file), "--out", str(tmp_path / "net.png")])


def test_block_that_does_not_fit_on_the_page_is_refused_with_a_remedy(tmp_path: Path) -> None:
    file = tmp_path / "blocks.yaml"
    blocks = [{"name": "a", "markers": [0, 1, 2, 3, 4, 5]}]
    file.write_text(yaml.safe_dump({"size": 0.07, "blocks": blocks}))
    with pytest.raises(ValueError, match="70 mm does not fit on a4; take smaller blocks, or --pa"):
        print_block.main(["--blocks", str(file), "--out", str(tmp_path / "net.pdf")])
