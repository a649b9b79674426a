"""Decoding of PNG and JPEG files to RGB arrays, and encoding as PNG."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import PIL.Image

from invdyn_ros.typing import Image


def decode_image(content: bytes, source: str) -> Image:
    """Decode a PNG or JPEG file to an RGB image (H, W, 3).

    Args:
        content: bytes of the file.
        source: name of the image in error messages.

    Raises:
        ValueError: the file is truncated, or not an image.
    """
    try:  # unlike OpenCV, Pillow rejects a truncated JPEG
        with PIL.Image.open(BytesIO(content)) as image:
            return np.asarray(image.convert("RGB"))
    except (OSError, SyntaxError, ValueError) as error:
        reason = "not an image" if "cannot identify" in str(error) else str(error)
        raise ValueError(f"{source} is damaged ({reason}); copy it again") from error


def encode_image(image: Image) -> bytes:
    """Encode an RGB image (H, W, 3) losslessly as a PNG file."""
    stream = BytesIO()
    PIL.Image.fromarray(image).save(stream, format="png", compress_level=1)
    return stream.getvalue()
