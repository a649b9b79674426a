"""Array types shared by all packages."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
Indices = NDArray[np.intp]
Image = NDArray[np.uint8]
"""(H, W, 3) in RGB order, unless a docstring says otherwise."""
