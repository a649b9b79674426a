"""Pose estimation: the 33 BlazePose landmarks of a person in an RGB image (MediaPipe)."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import cv2
import numpy as np
from pydantic import Field

from invdyn_ros.config import Probability, Validated
from invdyn_ros.data.mediapipe_models import POSE_TASK, find_task_file
from invdyn_ros.data.mediapipe_task import ImageTask
from invdyn_ros.native_output import suppress_native_output
from invdyn_ros.teleop.arm_directions import ARM_LANDMARKS
from invdyn_ros.teleop.image_view import ImageView, UprightSearch
from invdyn_ros.teleop.person_selector import PersonSelector

GREY = 90  # of an image without a person
HIP_FROM_MEDIAPIPE = np.array([[0.0, 0.0, -1.0], [1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
"""Rotation (3, 3) from MediaPipe's axes (x right in the image, y down, z forward) to the hips."""


class Landmarks(NamedTuple):
    """Landmarks of one person in one image."""

    world: np.ndarray
    """(33, 4): x, y, z [m] and visibility 0..1, in the hip frame.

    Its origin is midway between the hips. Its axes are fixed to the camera and follow REP 103 for
    a person who faces it: x forward from the chest to the camera, y to the person's left (right
    in the image), z up in the image.
    """
    image: np.ndarray
    """(33, 2): x to the right and y down in the image [px]."""

    def with_image_position(self, image_height: int) -> np.ndarray:
        """Return `world` (33, 4) with the position in the image [image heights], (33, 6)."""
        return np.hstack([self.world, self.image / image_height])


@dataclass(frozen=True)
class PoseEstimatorConfig(Validated):
    """Settings of the pose estimator."""

    model: str = ""
    """A `pose_landmarker_*.task` file; empty: the one that `invdyn install_models` makes."""
    min_detection_confidence: Probability = 0.5
    """Minimum score to detect a person, 0..1."""
    min_tracking_confidence: Probability = 0.5
    """Minimum score to track the person instead of detecting again, 0..1."""
    mirror: bool = False
    """Whether the images are mirrored, as some programs of webcams do."""
    rotate: Literal["0", "90", "180", "270", "auto"] = "0"
    """Angle by which the images are turned counter-clockwise until the person is upright [deg];
    auto: found from the person."""
    persons: Annotated[int, Field(ge=1, le=4)] = 1
    """Largest number of persons that are detected; one of them is followed."""

    def __post_init__(self) -> None:
        """Check that the model file exists."""
        super().__post_init__()
        if self.model and not Path(self.model).is_file():
            raise FileNotFoundError(
                f"no pose model {self.model}; "
                "give a pose_landmarker_*.task file, or '' for the installed one"
            )


class PoseEstimator(AbstractContextManager["PoseEstimator"]):
    """Estimate the pose of one person in successive images.

    Landmarks are those of a person who is upright and not mirrored; their positions in the image
    are in the image as it came.
    """

    def __init__(self, config: PoseEstimatorConfig | None = None) -> None:
        """Load the network and run it once, because its first call is slow.

        Raises:
            FileNotFoundError: there is no model file.
            ValueError: the model file is not a pose landmarker.
        """
        config = config or PoseEstimatorConfig()
        file = Path(config.model) if config.model else find_task_file(POSE_TASK)
        with suppress_native_output():
            self._task = ImageTask(
                "PoseLandmarker",
                file,
                min_pose_detection_confidence=config.min_detection_confidence,
                min_tracking_confidence=config.min_tracking_confidence,
                num_poses=config.persons,
            )
            self._task.detect(np.zeros((256, 256, 3), np.uint8))
        self._search = UprightSearch() if config.rotate == "auto" else None
        self._view = ImageView(config.mirror, 0 if self._search else int(config.rotate) // 90)
        self._select = PersonSelector()
        self._first_detection = True  # until the first one, at which TFLite prints a warning

    def __call__(self, image: np.ndarray) -> Landmarks | None:
        """Return the landmarks of the person in an image, None if no person is detected.

        Args:
            image: (height, width, 3) uint8 RGB.

        Raises:
            ValueError: an array of another shape or type.
        """
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise ValueError(
                f"expected an RGB image (h, w, 3) uint8, got {image.shape} {image.dtype}"
            )
        landmarks = self._detect(self._view.apply(image), image.shape[1], image.shape[0])
        world = None if landmarks is None else landmarks.world
        if self._search is not None and self._search.update(world):
            self._view = self._view._replace(turns=self._search.turns)
            self._task.detect(np.full((256, 256, 3), GREY, np.uint8))  # ends the tracking
            return None
        return landmarks

    def _detect(self, view: np.ndarray, width: int, height: int) -> Landmarks | None:
        """Return the landmarks of a person.

        Args:
            view: (h, w, 3) the image as it is looked at.
            width: of the image as it came [px].
            height: of the image as it came [px].
        """
        with suppress_native_output() if self._first_detection else nullcontext():
            result = self._task.detect(view)
        if not result.pose_world_landmarks:
            return None
        self._first_detection = False
        size = view.shape[1], view.shape[0]
        pixels = [
            np.array([(p.x, p.y) for p in person]) * size for person in result.pose_landmarks
        ]
        chosen = self._select(pixels)
        world = np.array(
            [(p.x, p.y, p.z, p.visibility) for p in result.pose_world_landmarks[chosen]]
        )  # (33, 4)
        world[:, :3] = world[:, :3] @ HIP_FROM_MEDIAPIPE.T
        return Landmarks(world, self._view.to_source(pixels[chosen], width, height))

    def close(self) -> None:
        """Free the network; the estimator cannot be called afterwards."""
        self._task.close()

    def __exit__(self, *_: object) -> None:
        self.close()


LEFT_COLOR, RIGHT_COLOR, CENTER_COLOR = (255, 150, 40), (40, 190, 255), (235, 235, 235)  # RGB
BONES: tuple[tuple[int, int, tuple[int, int, int]], ...] = (
    *((a, b, CENTER_COLOR) for a, b in ((11, 12), (23, 24), (11, 23), (12, 24))),
    *((a, b, LEFT_COLOR) for a, b in ((23, 25), (25, 27), (27, 31), (15, 19), (11, 13), (13, 15))),
    *(
        (a, b, RIGHT_COLOR)
        for a, b in ((24, 26), (26, 28), (28, 32), (16, 20), (12, 14), (14, 16))
    ),
)


def draw_landmarks(image: np.ndarray, landmarks: Landmarks | None, side: str = "") -> np.ndarray:
    """Draw landmarks and bones on a copy of an image.

    The left side is orange, the right side blue; occluded bones are faint.

    Args:
        image: (height, width, 3) uint8 RGB.
        landmarks: the person in the image; None for a plain copy.
        side: the arm that the robot follows, "left" or "right", drawn thicker; empty for none.
    """
    canvas = np.ascontiguousarray(image).copy()
    if landmarks is None:
        return canvas
    unit = max(image.shape[:2]) / 480  # scales line widths with the image
    followed = ARM_LANDMARKS[side] if side else ()
    for a, b, colour in BONES:
        visibility = float(landmarks.world[[a, b], 3].min())
        thick = a in followed and b in followed
        _line(
            canvas, landmarks.image[[a, b]], colour, round((6 if thick else 3) * unit), visibility
        )
    for index in (0, 11, 12, 13, 14, 15, 16, 23, 24):
        if landmarks.world[index, 3] > 0.3:
            radius = round((7 if index in followed else 4) * unit)
            centre = _pixel(landmarks.image[index])
            cv2.circle(canvas, centre, radius + max(1, round(unit)), (30, 30, 30), -1, cv2.LINE_AA)
            cv2.circle(canvas, centre, radius, (255, 255, 255), -1, cv2.LINE_AA)
    return canvas


def _line(
    canvas: np.ndarray,
    ends: np.ndarray,
    colour: tuple[int, int, int],
    width: int,
    visibility: float,
) -> None:
    """Draw one bone with an outline, faint if occluded.

    Args:
        canvas: (height, width, 3) uint8 RGB, modified in place.
        ends: (2, 2) landmarks at both ends [px].
        colour: RGB colour.
        width: line width [px].
        visibility: visibility of the bone, 0..1.
    """
    if visibility < 0.1:
        return
    layer = canvas if visibility > 0.9 else canvas.copy()
    cv2.line(layer, _pixel(ends[0]), _pixel(ends[1]), (30, 30, 30), width + 2, cv2.LINE_AA)
    cv2.line(layer, _pixel(ends[0]), _pixel(ends[1]), colour, max(width, 1), cv2.LINE_AA)
    if layer is not canvas:
        cv2.addWeighted(layer, visibility, canvas, 1 - visibility, 0, canvas)


def _pixel(point: np.ndarray) -> tuple[int, int]:
    """Round to a pixel; points far outside are clipped, because OpenCV uses 32-bit integers."""
    x, y = np.clip(np.round(point), -10_000, 10_000)
    return int(x), int(y)
