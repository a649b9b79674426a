"""Recording of a run as plain arrays, from which reports and plots are made."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from invdyn_ros.typing import Array, Image

MIN_GAP = 1e-3  # [s] between two parts of a run


class JointSamples(NamedTuple):
    """Joint samples in time order.

    Attributes:
        time: (T,) stamp [s].
        q: (T, n) position [rad].
        qd: (T, n) velocity [rad/s], (T, 0) where not measured.
        effort: (T, n) torque [N m] or command, (T, 0) where not measured.
        opening: (T,) distance between the finger pads [m].
    """

    time: Array
    q: Array
    qd: Array
    effort: Array
    opening: Array

    @classmethod
    def from_rows(cls, rows: list[tuple[float, Array, Array, Array, float]]) -> "JointSamples":
        """Stack rows of (time, q, qd, effort, opening)."""
        if not rows:
            empty = np.empty((0, 0))
            return cls(np.empty(0), empty, empty, empty, np.empty(0))
        time, q, qd, effort, opening = zip(*rows, strict=True)
        return cls(np.array(time), np.stack(q), _stack(qd), _stack(effort), np.array(opening))

    def velocity(self, i: int) -> Array:
        """Return the velocity (n,) [rad/s] of sample i, differentiated if it is not measured."""
        if self.qd.shape[1]:
            return self.qd[i]
        first, last = max(i - 2, 0), min(i + 2, len(self.time) - 1)
        return (self.q[last] - self.q[first]) / max(self.time[last] - self.time[first], 1e-9)

    def since(self, start: float) -> "JointSamples":
        """Return the samples from a start time [s] on."""
        return self.between(start, np.inf)

    def between(self, start: float, end: float) -> "JointSamples":
        """Return the samples from a start time to an end time [s]."""
        mask = (self.time >= start) & (self.time <= end)
        return JointSamples(*(part[mask] for part in self))


def _stack(rows: Sequence[Array]) -> Array:
    """Stack rows; values that some rows lack count as not measured, (T, 0)."""
    if len({row.shape for row in rows}) > 1:
        return np.empty((len(rows), 0))
    return np.stack(rows)


class StampedImage(NamedTuple):
    """An image (H, W, 3) and its stamp [s]."""

    time: float
    image: Image


class EncodedImage(NamedTuple):
    """A JPEG image and its stamp [s]; a minute of them fits into memory."""

    time: float
    jpeg: bytes

    @property
    def image(self) -> Image:
        """The decoded image (H, W, 3) uint8 RGB."""
        import cv2  # slow to import

        decoded = cv2.imdecode(np.frombuffer(self.jpeg, np.uint8), cv2.IMREAD_COLOR)
        return np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB), np.uint8)


def encode_jpeg(image: Image, quality: int = 95) -> bytes:
    """Return an image (H, W, 3) uint8 RGB as JPEG of a quality of 0 to 100."""
    import cv2  # slow to import

    options = [cv2.IMWRITE_JPEG_QUALITY, quality]
    _, encoded = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options)
    return bytes(encoded.tobytes())


class StatusInterval(NamedTuple):
    """Time in which a node reported that something is not as it should be.

    Attributes:
        start: first time [s].
        end: last time [s].
        node: name of the node.
        text: the reason in words.
        kind: "hold": the node does not perform its task; "fault": the same, until somebody
            intervenes; "contact": of the simulated arm; "warning": the node performs its task.
    """

    start: float
    end: float
    node: str
    text: str
    kind: str


class EpisodeStatus(NamedTuple):
    """What the grasp node said of an episode.

    Attributes:
        success: whether the block was placed, as the camera saw it; None: the episode starts.
        text: placed, or why it failed.
    """

    success: bool | None
    text: str


@dataclass
class Recording:
    """One run or one episode.

    Attributes:
        joints: measured joint states.
        desired: desired joint states, with the action in `effort`; opening is NaN.
        targets: stamp [s] -> target joint positions (n,) [rad] of each joint_target.
        landmarks: (stamp [s], landmarks (33, 4) or None) of each frame.
        pushes: (stamp [s], force (3,) on the tip along the axes of the base [N]) of a hand that
            pushes a simulated arm.
        block_poses: stamp [s] -> true centre (3,) and quaternion (4,) xyzw of the block to grasp.
        all_block_poses: stamp [s] -> the same of every block; empty: only the block to grasp.
        camera_detections: stamp [s] -> detected pose (4, 4) of the block in the camera frame.
        base_detections: stamp [s] -> detected pose (4, 4) of the block in the base frame.
        stages: (processing stage, stamp of the image [s], time when the stage was reached [s]).
        images: overlay images.
        image_stamps: stamps of all images that the camera published [s].
        statuses: holds and faults of the nodes, in time order.
        hold_counts: how often the arm was held, by reason.
        ignored_counts: number of recorded messages that could not be read, by topic.
        contact_counts: number of contacts of the simulated arm, by pair of bodies.
        calibration: `teleop.hand_calibration.HandCalibration` of the person; None: proportions.
        episodes: (stamp [s], status) of each start and result of an episode.
        result: result of the only episode, if the camera judged it; None: true poses tell.
        obstacles: `robots.obstacles.Obstacles` around the arm; None: those of its entry.
    """

    joints: JointSamples
    desired: JointSamples
    targets: dict[float, Array] = field(default_factory=dict)
    landmarks: list[tuple[float, Array | None]] = field(default_factory=list)
    pushes: list[tuple[float, Array]] = field(default_factory=list)
    block_poses: dict[float, tuple[Array, Array]] = field(default_factory=dict)
    all_block_poses: dict[float, list[tuple[Array, Array]]] = field(default_factory=dict)
    camera_detections: dict[float, Array] = field(default_factory=dict)
    base_detections: dict[float, Array] = field(default_factory=dict)
    stages: list[tuple[str, float, float]] = field(default_factory=list)
    images: list[StampedImage | EncodedImage] = field(default_factory=list)
    image_stamps: list[float] = field(default_factory=list)
    statuses: list[StatusInterval] = field(default_factory=list)
    hold_counts: dict[str, int] = field(default_factory=dict)
    ignored_counts: dict[str, int] = field(default_factory=dict)
    contact_counts: dict[str, int] = field(default_factory=dict)
    calibration: Any = None
    episodes: list[tuple[float, EpisodeStatus]] = field(default_factory=list)
    result: EpisodeStatus | None = None
    obstacles: Any = None

    def between(self, start: float, end: float) -> "Recording":
        """Return the part from a start time to an end time [s], with the counts of the whole."""

        def cut(rows: Any) -> Any:
            if isinstance(rows, dict):
                return {t: value for t, value in rows.items() if start <= t <= end}
            return [row for row in rows if start <= row[0] <= end]

        names = [
            *("targets", "landmarks", "pushes", "block_poses", "all_block_poses", "images"),
            *("camera_detections", "base_detections", "episodes"),
        ]
        return replace(
            self,
            joints=self.joints.between(start, end),
            desired=self.desired.between(start, end),
            stages=[stage for stage in self.stages if start <= stage[1] <= end],
            image_stamps=[t for t in self.image_stamps if start <= t <= end],
            statuses=[
                s._replace(start=max(s.start, start), end=min(s.end, end))
                for s in self.statuses
                if s.end > start and s.start < end
            ],
            **{name: cut(getattr(self, name)) for name in names},
        )

    def shifted(self, offset: float) -> "Recording":
        """Return the recording with all stamps shifted by an offset [s]."""
        return replace(
            self,
            joints=self.joints._replace(time=self.joints.time + offset),
            desired=self.desired._replace(time=self.desired.time + offset),
            targets={t + offset: q for t, q in self.targets.items()},
            landmarks=[(t + offset, points) for t, points in self.landmarks],
            pushes=[(t + offset, force) for t, force in self.pushes],
            block_poses={t + offset: pose for t, pose in self.block_poses.items()},
            all_block_poses={t + offset: poses for t, poses in self.all_block_poses.items()},
            camera_detections={t + offset: T for t, T in self.camera_detections.items()},
            base_detections={t + offset: T for t, T in self.base_detections.items()},
            stages=[(name, stamp + offset, t + offset) for name, stamp, t in self.stages],
            images=[image._replace(time=image.time + offset) for image in self.images],
            image_stamps=[t + offset for t in self.image_stamps],
            episodes=[(t + offset, status) for t, status in self.episodes],
            statuses=[
                s._replace(start=s.start + offset, end=s.end + offset) for s in self.statuses
            ],
        )


def split_episodes(recording: Recording) -> tuple[list[Recording], list[Recording]]:
    """Return the episodes of a real arm, complete and unfinished ones, each with its result.

    An episode lasts from its start, or the first desired state after it, to its result. What
    happened between two episodes belongs to none.
    """
    complete: list[Recording] = []
    start: float | None = None
    for time, status in sorted(recording.episodes, key=lambda pair: pair[0]):
        if status.success is None:
            start = time
        elif start is not None:
            complete.append(replace(_engaged(recording, start, time), result=status))
            start = None
    return complete, [] if start is None else [_engaged(recording, start, np.inf)]


def _engaged(recording: Recording, start: float, end: float) -> Recording:
    """Return the part of a recording from its first desired state on, between two times [s]."""
    engaged = [t for t in recording.desired.time if start <= t <= end]
    return recording.between(engaged[0] if engaged else start, end)


def join_recordings(parts: list[Recording]) -> Recording:
    """Return one recording of all parts of a run, whose stamps restarted or jumped.

    A part starts where the one before it ended, so that nothing after a jump is lost.
    """
    joined = parts[0]
    for part in parts[1:]:
        end = joined.joints.time[-1] if len(joined.joints.time) else 0.0
        start = part.joints.time[0] if len(part.joints.time) else end
        joined = _append(joined, part.shifted(float(end - start) + MIN_GAP))
    return joined


def _append(first: Recording, second: Recording) -> Recording:
    """Return both recordings as one; the second one is later."""
    values: dict[str, Any] = {}
    for name, value in vars(first).items():
        other = getattr(second, name)
        if isinstance(value, JointSamples):
            values[name] = _append_samples(value, other)
        elif isinstance(value, dict):
            values[name] = value | other
        elif isinstance(value, list):
            values[name] = [*value, *other]
    return replace(first, **values)


def _append_samples(first: JointSamples, second: JointSamples) -> JointSamples:
    if not len(first.time) or not len(second.time):
        return first if len(first.time) else second
    if any(a.shape[1:] != b.shape[1:] for a, b in zip(first, second, strict=True)):
        return first  # velocity or effort is missing in one of them
    return JointSamples(*(np.concatenate(pair) for pair in zip(first, second, strict=True)))


def align_stamps(
    measured: JointSamples, desired: JointSamples
) -> tuple[JointSamples, JointSamples]:
    """Return the measured and desired samples with equal stamps."""
    keys = {round(t * 1e6): i for i, t in enumerate(measured.time)}
    pairs = [(keys[k], j) for j, t in enumerate(desired.time) if (k := round(t * 1e6)) in keys]
    if not pairs:  # an arm that was never engaged has no desired states
        empty = JointSamples(*(part[:0] for part in measured))
        return empty, empty
    measured_rows, desired_rows = np.array(pairs, int).T
    return (
        JointSamples(*(part[measured_rows] for part in measured)),
        JointSamples(*(part[desired_rows] for part in desired)),
    )
