"""Curves and worst moments of a teleop run."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from invdyn_ros.data.recording import Recording, encode_jpeg
from invdyn_ros.evaluation.pages.curves import (
    curve,
    event_spans,
    joint_charts,
    line_chart,
    worst_samples,
)
from invdyn_ros.evaluation.pages.report_page import Chart, Failure, Section
from invdyn_ros.evaluation.person_errors import PersonTargets, measured_errors, person_targets
from invdyn_ros.evaluation.run_events import Event, active_events
from invdyn_ros.robots.robot import Robot
from invdyn_ros.teleop.retarget_config import RetargetConfig
from invdyn_ros.teleop.retargeting import Retargeter
from invdyn_ros.typing import Array, Image

NUM_MOMENTS = 6
MIN_DISTANCE = 1.0  # [s] between two of the worst moments
IMAGE_WIDTH = 480  # [px]
MAX_IMAGE_AGE = 0.5  # [s] of the image of a moment
MAX_HAND_SAMPLES = 600


def teleop_run_sections(
    recording: Recording, robot: Robot, config: RetargetConfig, events: Sequence[Event]
) -> list[Section]:
    """Return the sections of a teleop run that need its recording.

    Args:
        recording: the run.
        robot: the arm.
        config: settings with which the person was followed.
        events: of the run.
    """
    if not len(recording.joints.time):
        return []
    start = float(recording.joints.time[0])
    spans = event_spans(events, start)
    targets = _within(person_targets(recording, robot, config), recording.joints.time)
    distance = measured_errors(recording, robot, targets).wrist
    joints = joint_charts(
        recording.joints, recording.desired, recording.targets, robot.joint_names, spans
    )
    text = (
        "Shaded: holds, faults, violations, contacts and lost images; point at one or move with "
        "the arrow keys to read its reason."
    )
    hand = _hand_charts(recording, robot, targets, spans, distance)
    joint_text = (
        "target: from the person; desired: the motion within the limits of the arm; measured: "
        "what the arm did. Of many samples that with the largest error is drawn."
    )
    moments = _moments(recording, targets.time, distance, events)
    gallery = "Where the wrist is farthest from the person's, and where faults began."
    return [
        Section("Person and arm", text, charts=hand),
        Section("Joints", joint_text, charts=joints),
        Section("Worst moments", gallery, failures=moments),
    ]


def _within(targets: PersonTargets, time: Array) -> PersonTargets:
    inside = (targets.time >= time[0]) & (targets.time <= time[-1])
    return PersonTargets(*(part[inside] for part in targets))


def _hand_charts(
    recording: Recording,
    robot: Robot,
    targets: PersonTargets,
    spans: Sequence[dict[str, object]],
    distance: Array,
) -> list[Chart]:
    """Return the distance of the wrists, and the position of both hands along each axis.

    Args:
        recording: the run.
        robot: the arm.
        targets: where the arm should be, (F,).
        spans: shaded intervals.
        distance: (F,) of the wrist from the person's [mm].
    """
    time, start = recording.joints.time, float(recording.joints.time[0])
    rows = worst_samples(distance)
    series = [curve("distance", targets.time[rows] - start, distance[rows])]
    charts = [line_chart("Measured wrist to person", "distance [mm]", series, spans)]
    link = Retargeter(robot).links[-1]
    sampled = worst_samples(np.zeros(len(time)), MAX_HAND_SAMPLES)
    q = recording.joints.q[sampled]
    tool = np.array([robot.forward_kinematics(x, link)[:3, 3] for x in q])
    person = worst_samples(np.zeros(len(targets.time)), MAX_HAND_SAMPLES)
    for k, axis in enumerate(("x, forward", "y, to the left", "z, up")):
        series = [
            curve(
                "person",
                targets.time[person] - start,
                targets.hand[person, k],
                dashed=True,
                color="var(--green)",
            ),
            curve("measured", time[sampled] - start, tool[:, k], color="var(--blue)"),
        ]
        charts.append(line_chart(f"Hand, {axis}", "position [m]", series, spans))
    return charts


def _moments(
    recording: Recording, time: Array, distance: Array, events: Sequence[Event]
) -> list[Failure]:
    """Return the first faults, and the moments with the largest distance.

    Args:
        recording: the run.
        time: (F,) [s].
        distance: (F,) [mm].
        events: of the run.
    """
    start = float(recording.joints.time[0])
    faults = [event for event in events if event.kind == "fault"][:NUM_MOMENTS]
    moments = [
        Failure(f"{event.start - start:.1f} s: fault", event.text, _frame(recording, event.start))
        for event in faults
    ]
    chosen = [event.start for event in faults]
    for index in np.argsort(-distance):
        if len(moments) >= NUM_MOMENTS:
            break
        if all(abs(time[index] - other) >= MIN_DISTANCE for other in chosen):
            moment = float(time[index])
            chosen.append(moment)
            title = f"{moment - start:.1f} s: wrist {distance[index]:.0f} mm from the person's"
            reasons = [event.text for event in active_events(events, moment, 0.2)]
            text = "; ".join(dict.fromkeys(reasons)) or "no hold, fault or violation at that time"
            moments.append(Failure(title, text, _frame(recording, moment)))
    return moments


def _frame(recording: Recording, time: float) -> list[tuple[str, bytes]]:
    """Return the newest camera image at a time, if there is one of about that time."""
    before = [image for image in recording.images if image.time <= time + 1e-6]
    if not before or time - before[-1].time > MAX_IMAGE_AGE:
        return []
    return [("camera image with detected landmarks", small_jpeg(before[-1].image))]


def small_jpeg(image: Image) -> bytes:
    """Return an image (H, W, 3) uint8 RGB as JPEG of at most IMAGE_WIDTH pixels."""
    scale = min(IMAGE_WIDTH / image.shape[1], IMAGE_WIDTH / image.shape[0], 1.0)
    size = (round(scale * image.shape[1]), round(scale * image.shape[0]))
    return encode_jpeg(np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8))
