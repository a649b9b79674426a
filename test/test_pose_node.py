"""Pose node: an image without a person."""

from __future__ import annotations

import numpy as np
from node_probe import IMAGES, START, TICK, stamps
from sensor_msgs.msg import Image, PointCloud2

from invdyn_ros.nodes.images import image_to_array, image_to_message
from invdyn_ros.nodes.messages import latest_qos, to_stamp
from invdyn_ros.nodes.pose import PoseNode


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
