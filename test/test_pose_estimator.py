from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from invdyn_ros.perception.camera import CameraConfig, open_camera
from invdyn_ros.teleop.pose import (
    HIP_FROM_MEDIAPIPE,
    Landmarks,
    PoseEstimator,
    PoseEstimatorConfig,
    draw_landmarks,
)

PERSON = Path(__file__).parents[2] / "shared" / "data" / "teleop" / "person.mp4"
needs_person = pytest.mark.skipif(not PERSON.exists(), reason="the recording person.mp4 is absent")


@pytest.fixture(scope="module")
def frames():
    """Every fourth frame of the recorded clip."""
    return [f.image for f in islice(open_camera(CameraConfig(video=str(PERSON))), 0, None, 4)]


@pytest.fixture(scope="module")
def landmarks_of_frames(frames):
    with PoseEstimator() as estimator:
        return [estimator(image) for image in frames]


@needs_person
def test_landmarks_are_detected_in_nearly_every_frame_of_the_recorded_video(landmarks_of_frames):
    assert np.mean([landmarks is not None for landmarks in landmarks_of_frames]) >= 0.95


@needs_person
def test_landmarks_are_in_the_hip_frame(landmarks_of_frames):
    """The person sits facing the camera from 1 s on."""
    for landmarks in filter(None, landmarks_of_frames[12:]):
        world, image = landmarks
        assert world.shape == (33, 4)
        assert image.shape == (33, 2)
        assert np.isfinite(world).all()
        assert ((world[:, 3] >= 0) & (world[:, 3] <= 1)).all()
        assert np.linalg.norm(world[[23, 24], :3].mean(axis=0)) < 0.02  # origin between the hips
        assert world[11, 1] > 0.05 > -0.05 > world[12, 1]  # left shoulder on the left side
        assert world[0, 2] > world[11, 2] > 0.2  # nose above shoulders above hips
        assert world[0, 0] > world[[7, 8], 0].max()  # the nose points forward
        assert 0.3 < world[11, 2] - world[23, 2] < 0.7  # a torso's length [m]


@needs_person
def test_landmarks_are_drawn_at_their_image_positions(frames, landmarks_of_frames):
    changed = (draw_landmarks(frames[20], landmarks_of_frames[20], "left") != frames[20]).any(
        axis=2
    )
    shoulder, wrist = landmarks_of_frames[20].image[11], landmarks_of_frames[20].image[15]
    for x, y in (shoulder, wrist, (shoulder + landmarks_of_frames[20].image[13]) / 2):
        assert changed[round(y), round(x)]
    assert 0.01 < changed.mean() < 0.2


@needs_person
def test_tracking_of_a_person_ends_at_an_empty_image(frames):
    with PoseEstimator() as estimator:
        assert estimator(frames[20]) is not None
        assert estimator(np.full_like(frames[20], 90)) is None
        assert estimator(frames[20]) is not None


def test_empty_image_gives_none_without_output(capfd):
    with PoseEstimator() as estimator:
        assert estimator(np.zeros((120, 160, 3), np.uint8)) is None
    assert capfd.readouterr().err == ""


def test_change_of_axes_is_a_rotation():
    """The person's right is left in the image; both frames are right-handed."""
    assert np.allclose(HIP_FROM_MEDIAPIPE @ HIP_FROM_MEDIAPIPE.T, np.eye(3))
    assert np.isclose(np.linalg.det(HIP_FROM_MEDIAPIPE), 1.0)
    to_camera, up, right = [0, 0, -1], [0, -1, 0], [1, 0, 0]
    for axis, hip in ((to_camera, [1, 0, 0]), (right, [0, 1, 0]), (up, [0, 0, 1])):
        assert np.allclose(HIP_FROM_MEDIAPIPE @ axis, hip)


@pytest.mark.parametrize(
    "image",
    [np.zeros((8, 8), np.uint8), np.zeros((8, 8, 4), np.uint8), np.zeros((8, 8, 3))],
    ids=["grey", "with alpha", "float"],
)
def test_image_of_another_type_is_refused(image):
    with PoseEstimator() as estimator, pytest.raises(ValueError, match="expected an RGB image"):
        estimator(image)


def test_error_names_missing_model_file():
    with pytest.raises(FileNotFoundError, match=r"no pose model nowhere.task"):
        PoseEstimatorConfig(model="nowhere.task")


def test_invalid_model_file_is_one_error_line(tmp_path, capfd):
    path = tmp_path / "notes.task"
    path.write_text("not a model")
    with pytest.raises(
        ValueError, match=r"notes.task is no .task file of a PoseLandmarker"
    ) as error:
        PoseEstimator(PoseEstimatorConfig(model=str(path)))
    assert "\n" not in str(error.value)
    assert capfd.readouterr().err == ""


def test_confidence_outside_its_range_is_refused():
    with pytest.raises(ValueError, match=r"min_tracking_confidence is 1\.5"):
        PoseEstimatorConfig(min_tracking_confidence=1.5)


def test_drawing_works_on_a_copy_and_accepts_points_outside():
    image = np.full((100, 120, 3), 80, np.uint8)
    original = image.copy()
    rng = np.random.default_rng(0)
    world = np.column_stack([rng.normal(size=(33, 3)), rng.uniform(0, 1, 33)])
    overlay = draw_landmarks(image, Landmarks(world, rng.uniform(-1e6, 1e6, (33, 2))), "right")
    assert overlay.shape == image.shape
    assert np.array_equal(image, original)
    assert np.array_equal(draw_landmarks(image, None), image)
