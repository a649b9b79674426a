"""The rehearsal's DofBot: servo registers move the arm that the camera films."""

import sys
import time

import numpy as np
import pytest
from filmed_dofbot import ROBOT, STAND_IN, FilmedDofbot, filmed_scene

from invdyn_ros.arms.dofbot_bus import DofbotBus, open_bus
from invdyn_ros.arms.dofbot_driver import DofbotDriver
from invdyn_ros.grasp.estimation.block_estimate import detection_on_table
from invdyn_ros.perception.block_detector import BlockDetector, BlockDetectorConfig
from invdyn_ros.perception.camera import CameraConfig, open_camera


@pytest.mark.slow
def test_camera_shows_the_block_where_it_lies_and_the_bus_moves_the_arm(monkeypatch):
    scene = filmed_scene()
    with FilmedDofbot(scene) as dofbot:
        frame = next(open_camera(CameraConfig(camera=dofbot.url, max_size=640)))
        detector = BlockDetector(BlockDetectorConfig(scene.block_size), scene.camera.intrinsics())
        (block,) = detector.detect(frame.image)
        monkeypatch.setenv("I2C_SOCKET", dofbot.environment["I2C_SOCKET"])
        monkeypatch.syspath_prepend(str(STAND_IN))
        driver = DofbotDriver(DofbotBus(open_bus(1)), ROBOT)
        goal, reading = ROBOT.home + 0.2 * np.array([1, -1, 1, 1, 0]), None
        deadline = time.monotonic() + 20
        while reading is None or np.abs(reading.q - goal).max() > 0.02:
            driver.command(goal)
            driver.command_gripper(0.04)
            reading = driver.tick() or reading
            assert time.monotonic() < deadline, "the arm does not arrive"
            time.sleep(driver.period)
        assert reading.opening == pytest.approx(0.04, abs=2e-3)
        true = dofbot.block_position()
    sys.modules.pop("smbus2", None)
    T_base_camera, middle = scene.camera.T_base_camera, scene.block_size / 2
    detection = detection_on_table(
        0.0, block.T_camera_block, np.eye(6) * 1e-6, T_base_camera, middle
    )
    assert np.linalg.norm(detection.position - true) < 0.003
