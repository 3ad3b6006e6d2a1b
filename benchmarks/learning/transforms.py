"""Images as different scanners would give them: each site has its own contrast, inversion, blur, noise or rotation."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Images = NDArray[np.float32]
"""[samples, 1, height, width], pixels in 0..1"""


def contrast(images: Images) -> Images:
    """Less contrast, brighter: 0..1 becomes 0.5..0.8."""
    return (np.float32(0.5) + np.float32(0.3) * images).astype(np.float32)


def inversion(images: Images) -> Images:
    """Black becomes white."""
    return (np.float32(1) - images).astype(np.float32)


def blur(images: Images) -> Images:
    """The mean of 3 by 3 pixels, darker at the edges."""
    padded = np.pad(images, ((0, 0), (0, 0), (1, 1), (1, 1)))
    height, width = images.shape[2:]
    shifted = [padded[:, :, y : y + height, x : x + width] for y in range(3) for x in range(3)]
    return np.mean(shifted, axis=0, dtype=np.float32)


def noise(images: Images) -> Images:
    """Grain of a tenth of the full range, the same for the same images."""
    grain = np.random.default_rng(images.size).normal(0.0, 0.1, images.shape)
    return np.clip(images + grain, 0, 1).astype(np.float32)


def rotation(images: Images) -> Images:
    """A quarter turn."""
    return np.ascontiguousarray(np.rot90(images, axes=(2, 3)))


KINDS: tuple[Callable[[Images], Images], ...] = (contrast, inversion, blur, noise, rotation)


def of_site(site: int, images: Images) -> Images:
    """The images as this site sees them: one of ``KINDS``; from the fifth site on, another one after it."""
    kind, others = site % len(KINDS), site // len(KINDS)
    seen = KINDS[kind](images)
    return KINDS[(kind + others) % len(KINDS)](seen) if others else seen
