"""Recorder of the messages of a run, for its report and as a rosbag2 recording."""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import CompressedImage, Image

from invdyn_ros.data.recording import encode_jpeg
from invdyn_ros.graph.topics import COMMANDS, IMAGE, JOINT_STATES
from invdyn_ros.nodes.frames import LATCHED_QOS
from invdyn_ros.nodes.images import image_to_array
from invdyn_ros.nodes.message_log import MessageLog
from invdyn_ros.nodes.recordings import is_restart, serialized_stamp
from invdyn_ros.nodes.report_config import ReportNodeConfig
from invdyn_ros.nodes.run_topics import BAG_TOPICS, LATCHED_TOPICS, OPTIONAL_TOPICS
from invdyn_ros.nodes.runner import DiagnosticNode

RELIABLE_QOS = QoSProfile(depth=2000)  # deep: a reader that falls behind loses no message
BEST_EFFORT_QOS = QoSProfile(depth=2000, reliability=ReliabilityPolicy.BEST_EFFORT)
FILM_SECONDS = 60.0  # from the first image on, in which every image is kept for the video
LATER_IMAGE_PERIOD = 2.0  # [s] between the images that are kept after that, for the summary


class RunRecorder:
    """Record serialized messages in a log and, where one is wanted, in a rosbag2 recording.

    Attributes:
        log: the messages for the report.
        is_logged: whether there are any; a run without an end and without a report is not kept.
    """

    def __init__(
        self, node: DiagnosticNode, config: ReportNodeConfig, on_failure: Callable[[str], None]
    ) -> None:
        """Create the recording.

        Args:
            node: subscribes to the topics.
            config: parameters of the report node.
            on_failure: takes the message for a recording that is lost.

        Raises:
            ValueError: the directory of the recording exists.
        """
        self.node, self.config, self.on_failure = node, config, on_failure
        self.log = MessageLog()
        is_finite = config.duration > 0 or (config.video and not config.loop)
        self.is_logged = bool(config.report or config.graph == "grasp_sim" or is_finite)
        self.bag = None
        if config.record:
            from invdyn_ros.nodes.bag import BagWriter  # slow to import

            self.bag = BagWriter(Path(config.record), config.storage, node)
        self.qos = RELIABLE_QOS if config.lockstep else BEST_EFFORT_QOS
        self.first_image_time, self.next_image_time = 0.0, 0.0  # [s]
        self.last_image_stamp = 0  # [ns]

    def record(
        self,
        topic: str,
        msg_type: Any,
        callback: Callable[[bytes], None] | None = None,
        qos: QoSProfile | None = None,
    ) -> Any:
        """Record the messages of a topic.

        Args:
            topic: name of the topic.
            msg_type: class of its messages.
            callback: also called with each message.
            qos: by default reliable in lockstep, else best effort.

        Returns:
            The subscription.
        """
        is_image = msg_type is Image
        self.log.add_topic(topic, CompressedImage if is_image else msg_type)

        def on_message(raw: bytes) -> None:
            if is_image:
                self._log_image(topic, raw)
            elif self.is_logged:
                self.log.append(topic, raw)
            self._write_to_bag(topic, msg_type, raw)
            if callback is not None:
                callback(raw)

        return self.node.create_subscription(
            msg_type, topic, on_message, qos or self.qos, is_input=topic == JOINT_STATES, raw=True
        )

    def keep_images(self) -> None:
        """Keep every image again for the first time after now, for the film of an episode."""
        self.first_image_time = self.next_image_time = self.last_image_stamp * 1e-9

    def record_to_bag_only(self) -> None:
        """Record what a report does not need, if there is a recording."""
        for topic, msg_type in BAG_TOPICS.items() if self.bag is not None else ():
            write = partial(self._write_to_bag, topic, msg_type)
            qos = LATCHED_QOS if topic in LATCHED_TOPICS else self.qos
            self.node.create_subscription(msg_type, topic, write, qos, raw=True)

    def has_publishers(self) -> bool:
        """Return whether each needed topic of the log, and one of the commands, is published."""
        topics = [topic for topic in self.log.types if topic not in OPTIONAL_TOPICS]
        topics += [IMAGE] if self.config.video else []
        is_complete = all(self.node.count_publishers(topic) for topic in topics)
        if self.bag is not None:
            is_complete &= any(self.node.count_publishers(topic) for topic in COMMANDS.values())
        return is_complete

    def close(self) -> None:
        """Finish the rosbag2 recording, also of an interrupted run, and delete the log."""
        self.log.close()
        bag, self.bag = self.bag, None
        if bag is not None:
            try:
                bag.close()
            except OSError as error:
                self._lose(bag, error)

    def _log_image(self, topic: str, raw: bytes) -> None:
        """Log an image as JPEG, after FILM_SECONDS only a few of them."""
        stamp_ns = serialized_stamp(raw)
        stamp = stamp_ns * 1e-9
        if self.log.counts[topic] == 0 or is_restart(stamp_ns, self.last_image_stamp):
            self.first_image_time = self.next_image_time = stamp
        self.last_image_stamp = stamp_ns
        if stamp < self.next_image_time:
            return
        message = deserialize_message(raw, Image)
        data = encode_jpeg(image_to_array(message))
        image = CompressedImage(header=message.header, format="jpeg", data=data)
        self.log.append(topic, serialize_message(image))
        is_late = stamp > self.first_image_time + FILM_SECONDS
        self.next_image_time = stamp + LATER_IMAGE_PERIOD if is_late else stamp

    def _write_to_bag(self, topic: str, msg_type: Any, raw: bytes) -> None:
        """Write a message to the rosbag2 recording; after a failure, go on without it."""
        if self.bag is None:
            return
        try:
            self.bag.write(topic, msg_type, time.time_ns(), raw)
        except OSError as error:
            bag, self.bag = self.bag, None
            self._lose(bag, error)

    def _lose(self, bag: Any, error: OSError) -> None:
        bag.remove()
        self.on_failure(f"the recording {self.config.record} is lost: {error}")
