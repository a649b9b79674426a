"""Pose node: an image without a person, and one that does not change."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from node_probe import IMAGES, START, TICK, stamps
from sensor_msgs.msg import Image, PointCloud2

from invdyn_ros.nodes.images import image_to_array, image_to_message
from invdyn_ros.nodes.messages import cloud_to_landmarks, latest_qos, to_stamp
from invdyn_ros.nodes.pose import PoseNode
from invdyn_ros.perception.camera import CameraConfig, open_camera

PERSON = Path(__file__).parents[2] / "shared" / "data" / "teleop" / "person.mp4"


def test_image_without_person_gives_empty_cloud_and_overlay_only_with_subscriber(start_node):
    probe, clouds = start_node(PoseNode, [("/pose/landmarks", PointCloud2)], lockstep=True)
    images = probe.advertise(IMAGES, Image)
    blank = np.full((240, 320, 3), 90, np.uint8)

    def publish_image(k):
        images.publish(image_to_message(blank, to_stamp(START + k * TICK), "camera"))
        probe.wait_until(lambda: len(clouds) == k + 1)
        assert (clouds[k].width, stamps(clouds)[k]) == (0, START + k * TICK)

    publish_image(0)
    publish_image(1)  # the node has processed the first image
    overlays = probe.subscribe("/pose/overlay", Image, latest_qos(False))
    publish_image(2)
    probe.wait_until(lambda: START + 2 * TICK in stamps(overlays))
    assert START not in stamps(overlays)
    np.testing.assert_array_equal(image_to_array(overlays[0]), blank)
    assert probe.tested_node.hold_reason == "no person in the image"
    assert probe.tested_node.diagnostic_values == {"images without a person": "3"}
    assert not probe.tested_node.hold_counts, "the retargeter holds; a report would count it twice"


@pytest.mark.skipif(not PERSON.exists(), reason="the recording person.mp4 is absent")
def test_frozen_image_gives_identical_landmarks_with_positions_in_the_image(start_node):
    probe, clouds = start_node(PoseNode, [("/pose/landmarks", PointCloud2)], lockstep=True)
    images = probe.advertise(IMAGES, Image)
    frame = next(open_camera(CameraConfig(video=str(PERSON)))).image
    for k in range(3):
        image = frame if k < 2 else frame + 1
        images.publish(image_to_message(image, to_stamp(START + k * TICK), "camera"))
        probe.wait_until(lambda k=k: len(clouds) == k + 1)
    first, frozen, other = (cloud_to_landmarks(cloud) for cloud in clouds)
    assert np.array_equal(first, frozen) and not np.array_equal(first, other)
    u, v = first[11, 4:]
    assert 0 < u < 1 and 0 < v < 1, "the left shoulder is in the square image"
