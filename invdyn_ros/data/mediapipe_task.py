"""Vision tasks of MediaPipe on successive images."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from invdyn_ros.native_output import suppress_native_output

PERIOD_MS = 33  # nominal period between images; MediaPipe's filters need stamps that increase


class ImageTask:
    """A landmarker of MediaPipe that tracks from image to image."""

    def __init__(self, name: str, file: Path, **options: Any) -> None:
        """Load a task.

        Args:
            name: of the class in `mediapipe.tasks.vision`.
            file: the .task file.
            **options: of the class, beside those that all tasks have.

        Raises:
            ValueError: the file is not one of this task.
        """
        with suppress_native_output():
            mp = _import_mediapipe()
            vision = mp.tasks.vision
            base = mp.tasks.BaseOptions(model_asset_path=str(file.absolute()))
            mode = vision.RunningMode.VIDEO
            task_options = getattr(vision, f"{name}Options")(
                base_options=base, running_mode=mode, **options
            )
            try:
                self._task = getattr(vision, name).create_from_options(task_options)
            except (RuntimeError, ValueError) as error:
                reason = " ".join(str(error).split())[:100]
                raise ValueError(f"{file} is no .task file of a {name}: {reason}") from error
        self._image, self._format = mp.Image, mp.ImageFormat.SRGB
        self._stamp = 0  # [ms]

    def detect(self, image: np.ndarray) -> Any:
        """Return the result for an image (H, W, 3) uint8 RGB that follows the last one."""
        self._stamp += PERIOD_MS
        mp_image = self._image(image_format=self._format, data=np.ascontiguousarray(image))
        return self._task.detect_for_video(mp_image, self._stamp)

    def close(self) -> None:
        """Free the networks."""
        with suppress_native_output():
            self._task.close()


def _import_mediapipe() -> Any:
    """Import MediaPipe without pyplot, of which it draws plots: 20 MB and 0.4 s."""
    plots = "matplotlib", "matplotlib.pyplot"
    stubs = {} if "matplotlib" in sys.modules else {name: ModuleType(name) for name in plots}
    for name, stub in stubs.items():
        sys.modules[name] = stub
        stubs[plots[0]].__dict__["pyplot"] = stub
    try:
        import mediapipe
    finally:
        for name in stubs:
            del sys.modules[name]
    return mediapipe
