"""Array types and the two ways every picture starts: from numbers and from a color."""

from __future__ import annotations

import colorsys
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.floating[Any]]
"""Pictures are planar `[3, T, H, W]` float32 in [0, 1]: NumPy's inner loop runs along rows."""
Bools = NDArray[np.bool_]


def floats(values: ArrayLike) -> Floats:
    """The values as float32, which NumPy's arithmetic with plain numbers keeps."""
    return np.asarray(values, np.float32)


def hsv(hue: float, saturation: float, value: float) -> Floats:
    """One color `[3]`; the hue wraps around at 1."""
    return floats(colorsys.hsv_to_rgb(hue % 1.0, saturation, value))
