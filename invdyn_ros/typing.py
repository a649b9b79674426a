"""Types shared by all packages."""

from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, Field

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
Indices = NDArray[np.intp]
Image = NDArray[np.uint8]
"""(H, W, 3) in RGB order, unless a docstring says otherwise."""
MAX_RATE = 1e5  # [Hz] of the samples of a robot


def _check_unique(names: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(names)) < len(names):
        raise ValueError(f"{', '.join(names)[:200]}: a name is given twice")
    return names


Rate = Annotated[float, Field(gt=0, le=MAX_RATE)]
"""Sample rate [Hz]."""
Names = Annotated[tuple[str, ...], AfterValidator(_check_unique)]
"""Names of joints, all different."""
