import cv2
import numpy as np
import pytest

from invdyn_ros.arms import rendering
from invdyn_ros.data.recording import JointSamples, Recording, StampedImage, StatusInterval
from invdyn_ros.evaluation import plots as plot
from invdyn_ros.evaluation.grasp_report import grasp_report
from invdyn_ros.evaluation.plots.grasp_video import episode_events
from invdyn_ros.evaluation.plots.playback import Playback, fit_camera, overview_camera
from invdyn_ros.evaluation.plots.style import short_names
from invdyn_ros.evaluation.plots.teleop_video import arm_state
from invdyn_ros.evaluation.plots.video_writer import RATE, Canvas, Curve, VideoWriter, fit_image
from invdyn_ros.robots.registry import load_scene
from invdyn_ros.robots.robot import load_robot
from invdyn_ros.robots.urdf import load_urdf
from invdyn_ros.robots.visual_geometry import load_surfaces

SECONDS = 1.0
LIE = np.array([0.0, 0.0, 0.0, 1.0])


@pytest.fixture(scope="module")
def robot():
    return load_robot("ur5")


@pytest.fixture(scope="module")
def scene():
    return load_scene("ur5")


@pytest.fixture(autouse=True)
def without_supersampling(monkeypatch):
    """Render one ray per pixel, as supersampling of the table would take most of the time."""
    monkeypatch.setattr(rendering, "SUPERSAMPLING", 1)


def swing(robot, seconds=SECONDS, start=0.0):
    """Return measured and desired samples of a sinusoid about home at 50 Hz."""
    time = np.arange(round(50 * seconds) + 1) / 50
    q = robot.home + 0.1 * np.sin(2 * np.pi * time)[:, None]
    qd = 0.2 * np.pi * np.cos(2 * np.pi * time)[:, None] + 0 * q
    opening = np.full(len(time), 0.04)
    return (
        JointSamples(start + time, q + 1e-3, qd, np.zeros_like(q), opening),
        JointSamples(start + time, q, qd, np.zeros_like(q), np.full(len(time), np.nan)),
    )


def lift(robot, scene):
    """An episode in which the block rises 100 mm and comes to rest in the air with the arm."""
    joints, desired = swing(robot)
    still = joints.time > 0.8
    joints.qd[still] = 0.0
    recording = Recording(joints, desired)
    rng = np.random.default_rng(0)
    for t in joints.time[::5]:
        height = 0.1 * np.clip(2 * t - 0.5, 0, 1)
        recording.block_poses[t] = (np.array([0.45, 0.02, 0.02 + height]), LIE)
        image = rng.integers(256, size=(480, 640, 3)).astype(np.uint8)
        recording.images.append(StampedImage(t, image))
    recording.camera_detections[joints.time[5]] = np.eye(4)
    return recording


def report(episodes, robot, scene):
    settings = {"policy": "scripted", "noise": "none", "seed": 0}
    return grasp_report(episodes, robot, scene, robot.action_unit, settings)


def teleop(robot, seconds=SECONDS):
    joints, desired = swing(robot, seconds, start=1.7e9)  # real runs have stamps of this size
    recording = Recording(joints, desired)
    for t in joints.time[::3]:
        recording.images.append(StampedImage(t, np.full((240, 320, 3), 120, np.uint8)))
        late = {"pose begin": 0.002, "pose end": 0.022, "command": 0.025}
        recording.stages += [(stage, t, t + delay) for stage, delay in late.items()]
    return recording


def frames(file):
    """Return every fourth row and column of all frames of a video in HD, (F, 180, 320, 3)."""
    video, read = cv2.VideoCapture(str(file)), []
    assert video.get(cv2.CAP_PROP_FPS) == RATE
    while (frame := video.read()[1]) is not None:
        assert frame.shape == (720, 1280, 3)
        read.append(frame[::4, ::4])
    return np.array(read)


def without_parts(recording, **parts):
    """Return a recording that has only joint samples and the given parts."""
    return Recording(recording.joints, recording.desired, **parts)


def first(recording, count):
    """Return the first samples of a recording, with the images and block poses up to their end."""
    joint_samples = recording.joints, recording.desired
    shortened = Recording(
        *(JointSamples(*(part[:count] for part in samples)) for samples in joint_samples)
    )
    end = shortened.joints.time[-1]
    shortened.images = [image for image in recording.images if image.time <= end]
    shortened.block_poses = {t: pose for t, pose in recording.block_poses.items() if t <= end}
    return shortened


def one_sample(recording):
    return first(recording, 1)


def without_desired(recording):
    """Return the recording of an arm that was never engaged."""
    return Recording(recording.joints, JointSamples.from_rows([]))


def empty():
    return Recording(JointSamples.from_rows([]), JointSamples.from_rows([]))


def test_grasp_video_plays_at_the_speed_of_the_recording(robot, scene, tmp_path):
    plot.grasp_video([first(lift(robot, scene), 26)], robot, scene, tmp_path / "grasp.mp4")
    video = frames(tmp_path / "grasp.mp4")
    assert 0.5 * RATE <= len(video) <= 1.5 * RATE  # the last frame is repeated
    assert video.std(axis=(1, 2, 3)).min() > 20  # no frame is empty
    assert [f.name for f in tmp_path.iterdir()] == ["grasp.mp4"]


def test_teleop_video_plays_at_the_speed_of_the_recording(robot, tmp_path):
    plot.teleop_video(teleop(robot, 0.5), robot, tmp_path / "teleop.mp4")
    video = frames(tmp_path / "teleop.mp4")
    assert abs(len(video) - 0.5 * RATE) <= 2
    assert video.std(axis=(1, 2, 3)).min() > 20
    assert (
        np.abs(np.subtract(video[0], video[5], dtype=float)[:, 160:]).max() > 50
    )  # the arm moves


def test_teleop_video_says_what_the_arm_does(robot):
    recording = teleop(robot)
    start = recording.desired.time[0]
    hold = StatusInterval(start + 0.5, start + 0.6, "retarget", "no person; step back", "hold")
    recording.statuses.append(hold)
    assert arm_state(recording, start + 0.2, None)[0] == "engaged"
    assert "unreachable: below" in arm_state(recording, start + 0.2, "below the base")[0]
    assert arm_state(recording, start + 0.55, "below the base")[0] == "holding: no person"
    assert arm_state(recording, start - 1.0, None)[0] == "not engaged"
    assert arm_state(recording, start + 9.0, None)[0] == "not engaged"


@pytest.mark.parametrize("shape", [(480, 640, 3), (640, 360, 3)])
def test_images_of_all_shapes_fill_their_panel(shape):
    canvas = Canvas()
    canvas.fill(np.full(shape, 200, np.uint8), (0, 56, 600, 600))
    assert canvas.array()[56:656, :600].min() >= 60


def test_grasp_summary_is_an_image(robot, scene, tmp_path):
    episodes = [
        lift(robot, scene),
        without_parts(lift(robot, scene)),
        one_sample(lift(robot, scene)),
    ]
    result = report(episodes, robot, scene)
    plot.grasp_summary(episodes, robot, scene, result, tmp_path / "summary.png")
    image = cv2.imread(str(tmp_path / "summary.png"))
    assert image.shape == (1000, 1600, 3)
    assert image.std() > 20


def test_teleop_summary_is_an_image(robot, tmp_path):
    result = {"frames": 3, "detected": 3, "latency_ms": {"p50": 25.0, "p95": None}}
    plot.teleop_summary(teleop(robot), robot, result, tmp_path / "summary.png")
    image = cv2.imread(str(tmp_path / "summary.png"))
    assert image.shape == (1000, 1600, 3)
    assert image.std() > 20


CUTS = {
    "joints alone": without_parts,
    "one sample": one_sample,
    "nothing wanted": without_desired,
    "nothing": lambda _: empty(),
}


@pytest.mark.slow
@pytest.mark.parametrize("cut", CUTS)
def test_grasp_plots_work_with_missing_data(cut, robot, scene, tmp_path):
    episodes = [CUTS[cut](first(lift(robot, scene), 3))]
    result = report(episodes, robot, scene)
    plot.grasp_video(episodes, robot, scene, tmp_path / "grasp.mp4")
    plot.grasp_summary(episodes, robot, scene, result, tmp_path / "summary.png")
    assert len(frames(tmp_path / "grasp.mp4"))


@pytest.mark.slow
@pytest.mark.parametrize("cut", CUTS)
def test_teleop_plots_work_with_missing_data(cut, robot, tmp_path):
    recording = CUTS[cut](first(teleop(robot), 3))
    plot.teleop_video(recording, robot, tmp_path / "teleop.mp4")
    plot.teleop_summary(recording, robot, {}, tmp_path / "summary.png")
    assert len(frames(tmp_path / "teleop.mp4"))


def test_video_without_episodes_has_a_message(robot, scene, tmp_path):
    plot.grasp_video([], robot, scene, tmp_path / "grasp.mp4")
    plot.grasp_summary([], robot, scene, report([], robot, scene), tmp_path / "summary.png")
    assert frames(tmp_path / "grasp.mp4").std() > 0


def test_failed_video_leaves_no_file(tmp_path):
    with (
        pytest.raises(ValueError, match="a frame is"),
        VideoWriter(tmp_path / "film.mp4") as video,
    ):
        video.add(np.zeros((10, 10, 3), np.uint8))
    assert not list(tmp_path.iterdir())


def test_episode_events_agree_with_the_success_detector(robot, scene):
    when = episode_events(lift(robot, scene), scene)
    assert when.detected == 0.1
    assert when.lifted == pytest.approx(0.5)
    assert when.placed == np.inf


def test_playback_interpolates_block_poses(robot):
    quaternion = np.array([0, 0, np.sin(0.2), np.cos(0.2)])  # 0.4 rad
    blocks = {0.0: (np.zeros(3), LIE), 0.2: (np.array([0.2, 0, 0.1]), quaternion)}
    pose = Playback(without_parts(teleop(robot), block_poses=blocks), robot).blocks(0.05)[0]
    assert pose[:3, 3] == pytest.approx([0.05, 0, 0.025])
    assert np.arctan2(pose[1, 0], pose[0, 0]) == pytest.approx(0.1)


def test_image_is_held_until_the_next(robot):
    images = [np.full((2, 2, 3), i, np.uint8) for i in range(2)]
    recording = without_parts(
        teleop(robot), images=[StampedImage(1.0, images[0]), StampedImage(2.0, images[1])]
    )
    playback = Playback(recording, robot)
    assert [playback.image(t)[0, 0, 0] for t in (0.5, 1.0, 1.99, 2.0, 9.0)] == [0, 0, 0, 1, 1]


def test_overview_contains_all_points_and_leaves_the_margin_free():
    points = np.random.default_rng(0).uniform((-0.2, -0.3, 0.0), (0.8, 0.7, 1.0), (100, 3))
    pixels = fit_camera(points, 640, 480, right_margin=150).project(points)
    assert (pixels > 0).all()
    assert (pixels < [640 - 150, 480]).all()
    assert np.ptp(pixels, axis=0).max() > 300


@pytest.mark.parametrize("arm", ["ur5", "kuka_iiwa", "dofbot"])
def test_overview_shows_the_whole_body_of_the_arm_and_what_else_it_must(arm):
    robot, target = load_robot(arm), np.array([[0.2, 0.6, 0.5]])
    playback = Playback(Recording(*swing(robot)), robot)
    scene = load_scene("kuka_iiwa")
    with overview_camera([playback], scene, robot, 120, 90, others=target) as view:
        camera = view.camera
    tree, points = load_urdf(robot.urdf), [target]
    for surface in load_surfaces(robot):
        if 0 <= surface.frame < robot.n:
            link = tree.joints[robot.joint_names[surface.frame]].child
            for time in np.linspace(0, SECONDS, 5):
                T = robot.forward_kinematics(playback.joints(time), link)
                points.append(surface.points.reshape(-1, 3) @ T[:3, :3].T + T[:3, 3])
    pixels = camera.project(np.vstack(points))
    assert (pixels > 0).all() and (pixels < [120, 90]).all()
    assert (np.ptp(pixels, axis=0) > [50, 45]).any(), "the arm fills the view"


def test_curve_is_bright_up_to_now():
    frame = np.zeros((50, 100, 3), np.uint8)
    time = np.linspace(0, 1, 11)
    Curve((10, 10, 80, 30), time, np.ones(11), (0.0, 1.0), "#ffffff", 2.0).draw(frame, 0.5)
    assert frame[25, 20:45].min() > 200
    assert 0 < frame[25, 60:85].max() < 200


def test_image_fits_into_its_box_undistorted():
    assert fit_image(np.zeros((480, 640, 3), np.uint8), 320, 400).shape == (240, 320, 3)
    assert fit_image(np.zeros((480, 480, 3), np.uint8), 1000, 600).shape == (600, 600, 3)


def test_legend_names_are_short():
    assert short_names(("shoulder_pan_joint", "elbow_joint")) == ["shoulder pan", "elbow"]
    assert short_names(("lbr_iiwa_joint_1", "lbr_iiwa_joint_2")) == ["joint 1", "joint 2"]
    assert short_names(("joint", "a")) == ["joint", "a"]
