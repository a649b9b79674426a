"""Pictures in files: bytes of a PNG or JPEG enter, RGB arrays leave; and PNG back."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from PIL import Image


def decode_image(content: bytes, where: str) -> np.ndarray:
    """Return the picture (H, W, 3) uint8 RGB of a PNG or JPEG file.

    Args:
        content: the file.
        where: what error messages call it.

    Raises:
        ValueError: it is torn, or no picture.
    """
    try:  # unlike OpenCV, Pillow refuses a JPEG whose end is missing
        with Image.open(BytesIO(content)) as picture:
            return np.asarray(picture.convert("RGB"))
    except (OSError, SyntaxError, ValueError) as error:
        reason = "no picture" if "cannot identify" in str(error) else str(error)
        raise ValueError(f"{where} is damaged ({reason}); copy it again") from error


def encode_image(picture: np.ndarray) -> bytes:
    """Return a picture (H, W, 3) uint8 RGB as a PNG file, which loses nothing."""
    stream = BytesIO()
    Image.fromarray(picture).save(stream, format="png", compress_level=1)
    return stream.getvalue()
