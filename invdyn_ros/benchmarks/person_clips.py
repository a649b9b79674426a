"""Clips of persons made from one recording: other views, light, builds, and several persons."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np

from invdyn_ros.teleop.pose import PoseEstimatorConfig
from invdyn_ros.typing import Image

GREY = 90
ANYWHERE, NOWHERE = (-np.inf, np.inf), (np.inf, -np.inf)
Region = tuple[float, float]
"""Left and right end of the part of the image in which the operator is [image heights]."""
AWAY_START, AWAY_END = 4.0, 6.0  # [s] between which somebody comes or goes


class PersonClip(NamedTuple):
    """A clip and what is known about it.

    Attributes:
        images: the images.
        operators: where the operator is in each of them.
        config: settings of the pose estimator.
        middle: between two persons, either of whom may be the operator [image heights]; NaN: no.
    """

    images: list[Image]
    operators: list[Region]
    config: PoseEstimatorConfig = PoseEstimatorConfig()
    middle: float = np.nan

    def phantoms(self, places: Sequence[float]) -> int:
        """Return the number of images in which somebody else than the operator was followed.

        Args:
            places: centre of the torso that was followed [image heights]; NaN where none was.
        """
        operators, followed = self.operators, [x for x in places if not np.isnan(x)]
        if not np.isnan(self.middle) and followed:
            is_left = followed[0] < self.middle
            side = (-np.inf, self.middle) if is_left else (self.middle, np.inf)
            operators = [side] * len(places)
        pairs = zip(operators, places, strict=True)
        return sum(not low <= x <= high for (low, high), x in pairs if not np.isnan(x))


MakeClip = Callable[[list[Image], float], PersonClip]


def each(change: Callable[[Image], Any], **config: Any) -> MakeClip:
    """Return a function that makes a clip by changing each image alone."""

    def make(images: list[Image], rate: float) -> PersonClip:
        del rate
        changed = [np.ascontiguousarray(change(image)) for image in images]
        return PersonClip(changed, [ANYWHERE] * len(images), PoseEstimatorConfig(**config))

    return make


def resized(image: Image, width: float, height: float) -> Image:
    """Return an image scaled about its centre, on grey or cropped.

    Args:
        image: (H, W, 3).
        width: factor of the width.
        height: factor of the height.
    """
    h, w = image.shape[:2]
    change = np.array([[width, 0, (1 - width) * w / 2], [0, height, (1 - height) * h / 2]])
    return _warped(image, change)


def tilted(image: Image, degrees: float) -> Image:
    """Return an image turned by an angle."""
    h, w = image.shape[:2]
    return _warped(image, cv2.getRotationMatrix2D((w / 2, h / 2), degrees, 0.9))


def shifted(image: Image, pixels: float) -> Image:
    """Return an image moved to the right."""
    return _warped(image, np.array([[1, 0, pixels], [0, 1, 0]], float))


def noisy(image: Image, light: float, std: float) -> Image:
    """Return an image in other light, with the noise of its sensor.

    Args:
        image: (H, W, 3).
        light: factor of the brightness.
        std: standard deviation of the noise, 0..255.
    """
    rng = np.random.default_rng(int(image[::16, ::16].sum()))
    return np.clip(light * image + rng.normal(0, std, image.shape), 0, 255).astype(np.uint8)


def coarse(image: Image, size: int) -> Image:
    """Return an image with the details of one of `size` pixels."""
    small = cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, image.shape[1::-1], interpolation=cv2.INTER_LINEAR))


def _warped(image: Image, change: np.ndarray) -> Image:
    size = image.shape[1], image.shape[0]
    return np.asarray(cv2.warpAffine(image, change, size, borderValue=(GREY,) * 3))


def _beside(left: Image, right: Image) -> Image:
    """Return the middle thirds of two images beside each other."""
    w = left.shape[1]
    part = slice(w // 5, w // 5 + w // 2)
    return np.ascontiguousarray(np.hstack([left[:, part], right[:, part]]))


def _later(images: list[Image], rate: float) -> list[Image]:
    """Return mirrored images of another moment, as of another person."""
    shift = round(2.5 * rate)
    return [image[:, ::-1] for image in images[shift:] + images[:shift]]


def two_persons(images: list[Image], rate: float) -> PersonClip:
    """Return two persons beside each other."""
    pairs = [_beside(a, b) for a, b in zip(images, _later(images, rate), strict=True)]
    middle = pairs[0].shape[1] / 2 / pairs[0].shape[0]
    return PersonClip(pairs, [ANYWHERE] * len(pairs), PoseEstimatorConfig(persons=2), middle)


def visitor(images: list[Image], rate: float, persons: int = 2) -> PersonClip:
    """Return an operator beside whom another person stands for two seconds.

    Args:
        images: the recorded images.
        rate: of the images [Hz].
        persons: how many are detected.
    """
    empty = np.full_like(images[0], GREY)
    others = _later(images, rate)
    pairs = [
        _beside(image, other if AWAY_START <= k / rate < AWAY_END else empty)
        for k, (image, other) in enumerate(zip(images, others, strict=True))
    ]
    middle = pairs[0].shape[1] / 2 / pairs[0].shape[0]
    return PersonClip(
        pairs, [(-np.inf, middle)] * len(pairs), PoseEstimatorConfig(persons=persons)
    )


def replaced(images: list[Image], rate: float) -> PersonClip:
    """Return an operator who goes away while another person stands beside the place."""
    empty = np.full_like(images[0], GREY)
    pairs, operators = [], []
    for k, (image, other) in enumerate(zip(images, _later(images, rate), strict=True)):
        away = AWAY_START <= k / rate < AWAY_END
        pairs.append(_beside(empty, other) if away else _beside(image, empty))
        middle = pairs[0].shape[1] / 2 / pairs[0].shape[0]
        operators.append(NOWHERE if away else (-np.inf, middle))
    return PersonClip(pairs, operators)


def leaving(images: list[Image], rate: float) -> PersonClip:
    """Return a person who leaves the image to the side within a second, and comes back."""
    width = images[0].shape[1]
    moved, operators = [], []
    for k, image in enumerate(images):
        time = k / rate
        out = np.clip(min(time - AWAY_START, AWAY_END + 1 - time), 0, 1)
        moved.append(shifted(image, 1.1 * width * float(out)))
        operators.append(NOWHERE if out >= 1 else ANYWHERE)
    return PersonClip(moved, operators)


def blank(images: list[Image], rate: float) -> PersonClip:
    """Return a person in a camera that gives no picture for some bursts of images."""
    period, shortest = round(2 * rate), round(0.15 * rate)
    gone = [k % period < shortest * (1 + k // period) for k in range(len(images))]
    frames = [np.zeros_like(i) if g else i for i, g in zip(images, gone, strict=True)]
    return PersonClip(frames, [NOWHERE if g else ANYWHERE for g in gone])


def nobody(images: list[Image], rate: float) -> PersonClip:
    """Return the room beside the person: the right edge of images before `AWAY_START`, tiled."""
    width = images[0].shape[1]
    part = images[round((AWAY_START - 2) * rate) : round(AWAY_START * rate)]
    edges = [image[:, 2 * width // 3 :] for image in part]
    frames = [np.hstack([e, e[:, ::-1], e])[:, :width] for e in edges]
    repeated = [np.ascontiguousarray(frames[k % len(frames)]) for k in range(len(images))]
    return PersonClip(repeated, [NOWHERE] * len(images))


CLIPS: dict[str, MakeClip] = {
    "as recorded": each(lambda image: image),
    "mirrored": each(lambda image: image[:, ::-1], mirror=True),
    "turned left": each(lambda image: np.rot90(image, 1), rotate="auto"),
    "turned right": each(lambda image: np.rot90(image, 3), rotate="auto"),
    "upside down": each(lambda image: np.rot90(image, 2), rotate="auto"),
    "tilted": each(lambda image: tilted(image, 15)),
    "far": each(lambda image: resized(image, 0.5, 0.5)),
    "near": each(lambda image: resized(image, 1.3, 1.3)),
    "slim": each(lambda image: resized(image, 0.8, 1.0)),
    "stout": each(lambda image: resized(image, 1.2, 1.0)),
    "small": each(lambda image: resized(image, 0.8, 0.7)),
    "dark": each(lambda image: noisy(image, 0.3, 6)),
    "very dark": each(lambda image: noisy(image, 0.12, 8)),
    "bright": each(lambda image: noisy(image, 1.8, 6)),
    "blurred": each(lambda image: cv2.GaussianBlur(image, (0, 0), 4)),
    "coarse": each(lambda image: coarse(image, 120)),
    "two persons": two_persons,
    "visitor": visitor,
    "visitor, persons:=1": lambda images, rate: visitor(images, rate, 1),
    "replaced": replaced,
    "leaving": leaving,
    "blank images": blank,
    "nobody": nobody,
}
"""Name -> function that makes the clip from the images of a recording and their rate [Hz]."""
