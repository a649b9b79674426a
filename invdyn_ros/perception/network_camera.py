"""Newest image of a network camera, whose stream does not wait for its reader."""

from __future__ import annotations

import threading
import time

import cv2
import numpy as np

from invdyn_ros.native_output import suppress_native_output

TIMEOUT = 5.0  # [s] to connect, and between two images
OPTIONS = [
    *(cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, round(1e3 * TIMEOUT)),
    *(cv2.CAP_PROP_READ_TIMEOUT_MSEC, round(1e3 * TIMEOUT)),
]


def is_url(camera: int | str) -> bool:
    """Return whether a camera is the address of a stream, such as http:// or rtsp://."""
    return "://" in str(camera)


class NetworkCamera:
    """Reads a stream in a thread, since images that wait in a socket would only get older.

    The stamp of an image is the time at which it was received: a stream has no other.
    """

    def __init__(self, url: str) -> None:
        """Connect.

        Raises:
            FileNotFoundError: nobody answers, or what is sent is no video.
        """
        with suppress_native_output():
            self._capture = cv2.VideoCapture(url, cv2.CAP_FFMPEG, OPTIONS)
        if not self._capture.isOpened():
            raise FileNotFoundError(
                f"no images from {url}; give an address of http (MJPEG) or rtsp that a video "
                "player shows, and check the network"
            )
        self._changed = threading.Condition()
        self._newest: tuple[float, np.ndarray] | None = None
        self._is_over = False
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def read(self) -> tuple[float, np.ndarray] | None:
        """Return stamp [s] and image (H, W, 3) BGR, newer than the last; None at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._newest is not None or self._is_over)
            newest, self._newest = self._newest, None
        return newest

    def release(self) -> None:
        """Disconnect."""
        self._is_over = True
        self._thread.join(2 * TIMEOUT)
        self._capture.release()

    def _read(self) -> None:
        while not self._is_over:
            success, bgr = self._capture.read()
            with self._changed:
                if success:
                    self._newest = time.time(), bgr
                else:
                    self._is_over = True
                self._changed.notify()
