"""Images of a block as a real camera takes them: lens, blur, little light, something in front.

Each pixel is the mean of many rays through the exact lens, so edges are smooth; the image of the
simulator has one ray per pixel and jagged edges.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import cv2
import numpy as np
from scipy.spatial.transform import Rotation

from invdyn_ros.benchmarks.lens_images import render_plane
from invdyn_ros.benchmarks.rendered_blocks import (
    MARGIN,
    SIDES,
    BlockImageSample,
    move_block,
)
from invdyn_ros.perception.aruco_cube import (
    MARKER_FRACTION,
    face_corners,
    face_image,
    face_normals,
)
from invdyn_ros.perception.camera_intrinsics import CameraIntrinsics
from invdyn_ros.perception.rigid_transforms import rigid_transform

WIDTH, HEIGHT, FOCAL = 640, 480, 400.0  # [px]
SAMPLES = 4  # rays per pixel and axis
TEXTURE_SIZE = 480  # side of the image of a face [px]
BLOCK_SIZE = 0.04  # [m]
LENS_BLUR_STD = 0.6  # of a sharp image [px]
WHITE, BLACK = (150.0, 240.0), (10.0, 45.0)  # ranges of grey levels of a face in full light
READ_NOISE_STD, SHOT_NOISE_GAIN = 2.0, 0.05  # [grey levels]; variance per grey level
MIXED_BLUR_STD, MIXED_LIGHT, MIXED_OCCLUSION = 3.0, 0.1, 0.3  # limits of the mixed condition
LENSES: Mapping[str, tuple[str, tuple[float, ...]]] = {
    "pinhole": ("plumb_bob", ()),
    "k1 -0.38": ("plumb_bob", (-0.38, 0.14, 0.001, -0.0005, 0.0)),
    "k1 -0.2": ("plumb_bob", (-0.2, 0.03, -0.0005, 0.001, 0.0)),
    "k1 0.1": ("plumb_bob", (0.1, 0.0, 0.001, 0.0005, 0.0)),
    "rational": (
        "rational_polynomial",
        (0.4, 0.1, 0.001, -0.002, 0.02, 0.9, 0.2, 0.05),
    ),
    "equidistant": ("equidistant", (-0.02, 0.01, -0.004, 0.001)),
}
"""Name -> distortion model and coefficients."""


@dataclass(frozen=True)
class ImagingCondition:
    """What makes an image of a block difficult."""

    lens: str = "pinhole"
    """A key of LENSES."""
    defocus: float = 0.0
    """Standard deviation along each axis of the disc that a point out of focus becomes [px]."""
    motion: float = 0.0
    """Standard deviation of the line that a moving point becomes [px]."""
    light: float = 1.0
    """Exposure relative to full light; the noise of the sensor stays."""
    occlusion: float = 0.0
    """Fraction of the block that is hidden by something in front of it."""


CONDITIONS: Mapping[str, ImagingCondition | None] = {
    "clear": ImagingCondition(),
    **{lens: ImagingCondition(lens=lens) for lens in LENSES if lens != "pinhole"},
    **{f"defocus {std:g} px": ImagingCondition(defocus=std) for std in (1.5, 3.0, 6.0)},
    **{f"motion {std:g} px": ImagingCondition(motion=std) for std in (1.5, 3.0, 6.0)},
    **{f"light {light:g}": ImagingCondition(light=light) for light in (0.5, 0.25, 0.1)},
    **{f"hidden {part:.0%}": ImagingCondition(occlusion=part) for part in (0.1, 0.3, 0.5)},
    "mixed": None,
}
"""Name -> condition; None: every image has a random lens, blur, light and occlusion."""


def photograph_blocks(
    name: str, blocks: int, seed: int, frames: int = 1
) -> Iterator[BlockImageSample]:
    """Photograph blocks at random positions and orientations, with log-uniform size in the image.

    Args:
        name: key of CONDITIONS. The same seed gives the same blocks under every condition.
        blocks: number of blocks, each with random lighting and background.
        seed: seed of poses, lighting, background and noise.
        frames: number of images of each block, which moves a little in between. The first of
            several is clear.
    """
    for block in range(blocks):
        rng, more = np.random.default_rng([seed, block]), np.random.default_rng([seed, block, 1])
        condition = CONDITIONS[name] or _random_condition(more)
        lens = camera_lens(condition.lens)
        T, side = _sample_pose(lens, rng)
        scene = _Scene(rng, more)
        for frame in range(frames):
            clear = frame == 0 and frames > 1
            now = ImagingCondition(lens=condition.lens) if clear else condition
            yield BlockImageSample(scene.photograph(T, lens, now, more), T, side, lens, frame)
            T = move_block(T, more)


def camera_lens(name: str) -> CameraIntrinsics:
    """Return the intrinsics of the camera with a lens, a key of LENSES."""
    model, coefficients = LENSES[name]
    k = np.array([[FOCAL, 0, WIDTH / 2 - 0.5], [0, FOCAL, HEIGHT / 2 - 0.5], [0, 0, 1]])
    return CameraIntrinsics(k, model, np.array(coefficients), WIDTH, HEIGHT)


def _random_condition(rng: np.random.Generator) -> ImagingCondition:
    lens = list(LENSES)[rng.integers(len(LENSES))]
    light = float(np.exp(rng.uniform(np.log(MIXED_LIGHT), 0)))
    condition = ImagingCondition(lens=lens, light=light, occlusion=rng.uniform(0, MIXED_OCCLUSION))
    blur = rng.uniform(0, MIXED_BLUR_STD)
    return replace(condition, defocus=blur) if rng.integers(2) else replace(condition, motion=blur)


def _sample_pose(lens: CameraIntrinsics, rng: np.random.Generator) -> tuple[np.ndarray, float]:
    """Return a pose (4, 4) in the image, and the side of a marker in the middle of it [px]."""
    side = float(np.exp(rng.uniform(*np.log(SIDES))))
    pixel = rng.uniform(MARGIN * side, np.array(lens.size) - MARGIN * side)
    position = FOCAL * BLOCK_SIZE * MARKER_FRACTION / side * lens.undistort(pixel)
    return rigid_transform(Rotation.random(random_state=rng).as_matrix(), position), side


class _Scene:
    """Lighting, background and the thing in front of one block."""

    def __init__(self, rng: np.random.Generator, more: np.random.Generator) -> None:
        self.white, self.black = rng.uniform(*WHITE), rng.uniform(*BLACK)
        self.light = rng.standard_normal(3)
        self.light /= np.linalg.norm(self.light)
        self.background = _background(rng)
        self.direction = rng.uniform(0, 2 * np.pi)  # from which the occluder comes
        self.occluder = rng.uniform(20, 220)
        self.motion = more.uniform(0, np.pi)

    def photograph(
        self,
        T: np.ndarray,
        lens: CameraIntrinsics,
        condition: ImagingCondition,
        rng: np.random.Generator,
    ) -> np.ndarray:
        """Return an image (HEIGHT, WIDTH, 3) of the block at T (4, 4)."""
        sharp = self._render(T, lens, condition.occlusion)
        blurred = cv2.GaussianBlur(sharp, (0, 0), LENS_BLUR_STD)
        if condition.defocus:
            kernel = disc_kernel(condition.defocus)
            blurred = cv2.filter2D(blurred, -1, kernel, borderType=cv2.BORDER_REPLICATE)
        if condition.motion:
            kernel = line_kernel(condition.motion, self.motion)
            blurred = cv2.filter2D(blurred, -1, kernel, borderType=cv2.BORDER_REPLICATE)
        level = condition.light * blurred[..., None]
        noise = rng.standard_normal((*blurred.shape, 3), np.float32)
        noise *= np.sqrt(READ_NOISE_STD**2 + SHOT_NOISE_GAIN * level)
        return np.clip(np.round(level + noise), 0, 255).astype(np.uint8)

    def _render(self, T: np.ndarray, lens: CameraIntrinsics, occlusion: float) -> np.ndarray:
        """Return the sharp image (HEIGHT, WIDTH) of the block at T (4, 4), float32."""
        normals = face_normals() @ T[:3, :3].T
        corners = face_corners(BLOCK_SIZE) @ T[:3, :3].T + T[:3, 3]
        outline = lens.project(corners.reshape(-1, 3))
        low = np.clip(outline.min(axis=0) - 4, 0, lens.size).astype(int)
        high = np.clip(outline.max(axis=0) + 5, 0, lens.size).astype(int)
        rays = _fine_rays(lens, low, high)
        image = self.background.copy()
        part = np.s_[low[1] : high[1], low[0] : high[0]]
        # background and 1000 more where the block is
        canvas = cv2.resize(image[part], None, fx=SAMPLES, fy=SAMPLES) + np.float32(1000)
        for face in range(6):
            if normals[face] @ corners[face].mean(axis=0) < 0:
                shade = 0.5 + 0.5 * max(float(normals[face] @ self.light), 0.0)
                marker = face_image(face, TEXTURE_SIZE).astype(np.float32) / 255
                pattern = shade * (self.black + (self.white - self.black) * marker)
                render_plane(canvas, rays, pattern, corners[face])
        covered = canvas < 1000
        canvas[~covered] -= 1000
        if occlusion:
            y, x = np.indices(canvas.shape, np.float32)
            along = x * np.cos(self.direction) + y * np.sin(self.direction)
            canvas[along > np.quantile(along[covered], 1 - occlusion)] = self.occluder
        size = tuple((high - low).tolist())
        image[part] = cv2.resize(canvas, size, interpolation=cv2.INTER_AREA)
        return image


def _fine_rays(lens: CameraIntrinsics, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Return the rays (h, w, 3) of the pixels from `low` to `high`, SAMPLES per pixel and axis.

    They are interpolated between those of whole pixels.
    """
    margin = 2
    x, y = (np.arange(low[i] - margin, high[i] + margin, dtype=float) for i in (0, 1))
    rays = lens.undistort(np.stack(np.meshgrid(x, y), axis=-1)).astype(np.float32)
    fine = cv2.resize(rays, None, fx=SAMPLES, fy=SAMPLES, interpolation=cv2.INTER_CUBIC)
    cut = slice(margin * SAMPLES, -margin * SAMPLES)
    return np.ascontiguousarray(fine[cut, cut])


def _background(rng: np.random.Generator) -> np.ndarray:
    """Return a background (HEIGHT, WIDTH) of soft shades and boxes, float32."""
    shades = rng.uniform(50, 200, (4, 5)).astype(np.float32)
    image = cv2.resize(shades, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    for _ in range(12):
        x, y = rng.uniform((0, 0), (WIDTH, HEIGHT))
        size, angle = rng.uniform(10, 150, 2), rng.uniform(0, 180)
        box = cv2.boxPoints(((x, y), tuple(size.tolist()), angle))
        cv2.fillConvexPoly(image, np.round(box).astype(np.int32), (rng.uniform(10, 240),))
    return np.clip(image, 5, 250)


def disc_kernel(std: float) -> np.ndarray:
    """Return the image (k, k) of a point out of focus: a disc of a standard deviation [px]."""
    radius, fine = 2 * std, 8
    half = int(np.ceil(radius)) + 1
    axis = (np.arange((2 * half + 1) * fine) + 0.5) / fine - 0.5 - half
    inside = (np.hypot(*np.meshgrid(axis, axis)) < max(radius, 1 / fine)).astype(np.float32)
    kernel = cv2.resize(inside, (2 * half + 1,) * 2, interpolation=cv2.INTER_AREA)
    return np.asarray(kernel / kernel.sum())


def line_kernel(std: float, angle: float) -> np.ndarray:
    """Return the image (k, k) of a moving point: a line of a standard deviation [px].

    Args:
        std: standard deviation along the line [px].
        angle: of the line from the x axis [rad].
    """
    half_length = np.sqrt(3) * std
    half, fine = int(np.ceil(half_length)) + 1, 8
    axis = (np.arange((2 * half + 1) * fine) + 0.5) / fine - 0.5 - half
    x, y = np.meshgrid(axis, axis)
    along = x * np.cos(angle) + y * np.sin(angle)
    across = y * np.cos(angle) - x * np.sin(angle)
    long_enough = max(half_length, 1 / fine)
    inside = ((np.abs(along) < long_enough) & (np.abs(across) < 0.5)).astype(np.float32)
    kernel = cv2.resize(inside, (2 * half + 1,) * 2, interpolation=cv2.INTER_AREA)
    return np.asarray(kernel / kernel.sum())
