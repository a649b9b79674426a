import queue
import struct
import subprocess
import time
from itertools import islice
from pathlib import Path

import cv2
import imageio_ffmpeg
import numpy as np
import pytest
from mjpeg_server import serve_mjpeg

from invdyn_ros.perception.camera import CameraConfig, open_camera, read_video_info
from invdyn_ros.perception.network_camera import NetworkCamera

PERSON = Path(__file__).parents[2] / "shared" / "data" / "teleop" / "person.mp4"
RATE, FRAMES = 20.0, 12


@pytest.fixture
def video(tmp_path):
    """A clip of 12 frames, 320 x 160, that gets brighter; its left half is red."""
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), RATE, (320, 160))
    for index in range(FRAMES):
        image = np.full((160, 320, 3), 15 * index, np.uint8)
        image[:, :160] = (0, 0, 255)  # BGR
        writer.write(image)
    writer.release()
    return str(path)


@pytest.fixture
def network_camera():
    """Return the URL of a network camera, and the queue of the grey levels that it sends."""
    levels = queue.Queue()

    def next_jpeg():
        level = levels.get()
        if level is None:
            return None
        return cv2.imencode(".jpg", np.full((120, 160, 3), level, np.uint8))[1].tobytes()

    with serve_mjpeg(next_jpeg) as url:
        yield url, levels


def test_frames_are_in_order_with_time_stamps_of_the_file(video):
    frames = list(open_camera(CameraConfig(video=video)))
    assert [f.index for f in frames] == list(range(FRAMES))
    assert np.allclose([f.time for f in frames], np.arange(FRAMES) / RATE, atol=1e-3)
    brightness = [f.image[:, 200:].mean() for f in frames]
    assert np.allclose(brightness, 15 * np.arange(FRAMES), atol=3)


def test_pixels_are_rgb(video):
    image = next(open_camera(CameraConfig(video=video))).image
    assert image.dtype == np.uint8
    assert np.allclose(image[80, 40], (255, 0, 0), atol=8)


@pytest.mark.parametrize(("size", "shape"), [(80, (40, 80, 3)), (480, (160, 320, 3))])
def test_longer_side_is_scaled_down_to_max_size_and_never_up(video, size, shape):
    assert next(open_camera(CameraConfig(video=video, max_size=size))).image.shape == shape


def test_time_stamps_continue_when_video_loops(video):
    frames = open_camera(CameraConfig(video=video, loop=True))
    looped = [next(frames) for _ in range(3 * FRAMES)]
    assert [f.index for f in looped] == list(range(3 * FRAMES))
    assert np.allclose(np.diff([f.time for f in looped]), 1 / RATE, atol=1e-3)
    assert np.array_equal(looped[2].image, looped[2 + 2 * FRAMES].image)


def test_lower_rate_drops_frames_and_keeps_time_stamps(video):
    frames = list(open_camera(CameraConfig(video=video, rate=RATE / 3)))
    assert np.allclose([f.time for f in frames], np.arange(0, FRAMES, 3) / RATE, atol=1e-3)


def test_video_info_has_size_rate_and_duration(video):
    assert read_video_info(video) == (320, 160, RATE, FRAMES, FRAMES / RATE)


def convert(source, target, *options):
    """Write a video with FFmpeg."""
    options = ["-loglevel", "error", *options, str(target)]
    subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), *options], check=True, input=source)
    return str(target)


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_video_with_a_rotation_is_upright(video, tmp_path, degrees):
    """As a phone stores it: the pixels lie on their side, and the file says so."""
    file = convert(
        b"", tmp_path / "phone.mp4", "-display_rotation", str(degrees), "-i", video, "-c", "copy"
    )
    upright = next(open_camera(CameraConfig(video=video))).image
    frame = next(open_camera(CameraConfig(video=file)))
    np.testing.assert_allclose(frame.image, np.rot90(upright, degrees // 90), atol=8)
    info = read_video_info(file)
    assert (info.width, info.height) == frame.full_size == frame.image.shape[1::-1]
    looped = open_camera(CameraConfig(video=file, loop=True))
    assert {f.image.shape for f in islice(looped, 2 * FRAMES)} == {frame.image.shape}


@pytest.mark.parametrize("turned", [False, True])
def test_mirrored_video_is_shown_as_players_do(video, tmp_path, turned):
    """OpenCV takes the matrix of a mirroring for that of a rotation."""
    file = Path(convert(b"", tmp_path / "mirrored.mp4", "-i", video, "-c", "copy"))
    content = bytearray(file.read_bytes())
    matrix = struct.pack(">9i", *_matrix(turned))
    offset = content.index(b"tkhd") + 44
    assert struct.unpack(">9i", content[offset : offset + 36])[0] == 1 << 16
    content[offset : offset + 36] = matrix
    file.write_bytes(content)
    stored = next(open_camera(CameraConfig(video=video))).image
    displayed = next(open_camera(CameraConfig(video=str(file)))).image
    expected = stored.transpose(1, 0, 2) if turned else stored[:, ::-1]
    np.testing.assert_allclose(displayed, expected, atol=8)


def _matrix(turned):
    """A display matrix that swaps x and y, or mirrors x."""
    one = 1 << 16
    a, b, c, d, x = (0, one, one, 0, 0) if turned else (-one, 0, 0, one, 320 << 16)
    return a, b, 0, c, d, 0, x, 0, 1 << 30


def test_stamps_are_those_of_the_file_where_frames_are_missing(video, tmp_path):
    """As a phone writes it: a sound track first, and a frame rate that varies."""
    sound = ("-f", "lavfi", "-i", "sine=duration=1", "-i", video, "-map", "0:a", "-map", "1:v")
    missing = ("-vf", "select=not(between(n\\,3\\,6))", "-fps_mode", "vfr", "-c:v", "mpeg4")
    file = convert(b"", tmp_path / "phone.mp4", *sound, *missing, "-c:a", "aac")
    frames = list(open_camera(CameraConfig(video=file)))
    expected = np.delete(np.arange(FRAMES), slice(3, 7))
    np.testing.assert_allclose([f.time for f in frames], expected / RATE, atol=2e-3)
    np.testing.assert_allclose([f.image[80, 240, 0] for f in frames], 15 * expected, atol=12)


def test_recording_of_a_browser_has_no_duration_but_frames(video, tmp_path):
    """It is written to a pipe, so its header does not know how long it is."""
    file = tmp_path / "browser.webm"
    with file.open("wb") as stream:
        subprocess.run(
            [
                *(imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", "-i", video),
                *("-c:v", "libvpx", "-f", "webm", "-live", "1", "-"),
            ],
            check=True,
            stdout=stream,
        )
    info = read_video_info(file)
    assert info.num_frames == 0 and info.frame_rate == pytest.approx(RATE, rel=0.05)
    frames = list(open_camera(CameraConfig(video=str(file))))
    assert len(frames) == FRAMES
    looped = list(islice(open_camera(CameraConfig(video=str(file), loop=True)), 2 * FRAMES))
    assert np.allclose(np.diff([f.time for f in looped]), 1 / RATE, atol=2e-3)


def test_error_names_missing_video():
    with pytest.raises(FileNotFoundError, match=r"no video file nowhere\.mp4"):
        open_camera(CameraConfig(video="nowhere.mp4"))


@pytest.mark.parametrize("content", [b"", b"not a video" * 100])
def test_error_names_file_that_is_not_a_video_without_native_output(tmp_path, capfd, content):
    path = tmp_path / "notes.mp4"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"cannot read .*notes.mp4 as a video"):
        open_camera(CameraConfig(video=str(path)))
    assert capfd.readouterr().err == ""


def test_folder_is_not_a_video(tmp_path):
    with pytest.raises(ValueError, match="as a video"):
        read_video_info(tmp_path)


def test_missing_camera_is_one_error_line(capfd):
    with pytest.raises(FileNotFoundError, match="no camera 97; this machine has"):
        open_camera(CameraConfig(camera=97))
    assert capfd.readouterr().err == ""


def test_busy_reader_gets_the_newest_image_of_a_network_camera_and_then_its_end(network_camera):
    url, levels = network_camera
    for level in (0, 0, 0, 40, 80, 120, None):
        levels.put(level)
    before = time.time()
    camera = NetworkCamera(url)
    camera._thread.join(20)
    stamp, image = camera.read()
    assert np.allclose(image, 120, atol=3) and before < stamp < time.time()
    assert camera.read() is None
    camera.release()


def test_network_camera_that_ends_is_named(network_camera):
    url, levels = network_camera
    for level in (60, 60, 60, None):
        levels.put(level)
    frames = open_camera(CameraConfig(camera=url, max_size=80))
    assert next(frames).image.shape == (60, 80, 3)
    with pytest.raises(ValueError, match=r"stream.mjpg sends no more images, after \d"):
        list(frames)


@pytest.mark.parametrize(
    ("camera", "message"),
    [
        ("http://127.0.0.1:1/stream", "no images from http://127.0.0.1:1/stream; give"),
        ("/dev/video97", "no camera /dev/video97; this machine has"),
    ],
)
def test_camera_that_does_not_answer_is_one_error_line(capfd, camera, message):
    with pytest.raises(FileNotFoundError, match=message):
        open_camera(CameraConfig(camera=camera))
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "either a video or a camera"),
        ({"video": "a.mp4", "camera": 0}, "either a video or a camera"),
        ({"video": "a.mp4", "camera": "http://phone"}, "either a video or a camera"),
        ({"camera": 0, "max_size": 8}, "max_size is 8"),
        ({"camera": 0, "rate": -1.0}, "rate is -1.0"),
    ],
)
def test_invalid_settings_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        CameraConfig(**fields)


@pytest.mark.skipif(not PERSON.exists(), reason="the recording person.mp4 is not here")
def test_recorded_video_is_read_completely():
    info = read_video_info(PERSON)
    assert (info.width, info.height, info.frame_rate, info.num_frames) == (720, 720, 20.0, 187)
    frames = list(open_camera(CameraConfig(video=str(PERSON), max_size=64)))
    assert len(frames) == info.num_frames
    assert np.allclose(np.diff([f.time for f in frames]), 0.05, atol=1e-6)
