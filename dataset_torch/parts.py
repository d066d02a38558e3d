"""Parts of things: what a mask may lack or gain by mistake, and what may be of another colour."""

from __future__ import annotations

import cv2
import numpy as np

COLOURS = 4  # parts that a region is split into by colour
SMALLEST = 64  # pixels of an object that is recoloured
SEAM = 1.2  # pixels; how soft the border of a recoloured part is


def random_part(image: np.ndarray, region: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """A part of a region: one side of a random line, a patch, or what shares a colour.

    Args:
        image: uint8 H x W x 3.
        region: boolean H x W, not empty.
        generator: the only source of chance.

    Returns:
        boolean H x W.
    """
    rows, columns = np.nonzero(region)
    kind = generator.integers(3)
    here = int(generator.integers(len(rows)))
    if kind == 0:
        angle = generator.uniform(0, 2 * np.pi)
        along = rows * np.sin(angle) + columns * np.cos(angle)
        chosen = along <= np.quantile(along, generator.uniform(0.15, 0.7))
    elif kind == 1:
        size = max(2.0, np.sqrt(len(rows)) * generator.uniform(0.3, 0.8))
        squeeze = np.exp(generator.uniform(-0.7, 0.7))
        chosen = ((rows - rows[here]) * squeeze) ** 2 + ((columns - columns[here]) / squeeze) ** 2 <= size**2
    else:
        colours = image[rows, columns].astype(np.float32)
        centres = colours[generator.choice(len(rows), min(COLOURS, len(rows)), replace=False)]
        for _ in range(2):  # enough of k-means to split by colour
            nearest = ((colours[:, None] - centres[None]) ** 2).sum(2).argmin(1)
            centres = np.stack(
                [colours[nearest == k].mean(0) if (nearest == k).any() else c for k, c in enumerate(centres)]
            )
        chosen = nearest == nearest[here]
    part = np.zeros(region.shape, np.uint8)
    part[rows[chosen], columns[chosen]] = 1
    if kind == 2:  # colours are noisy: whole patches, no pepper and salt
        part = cv2.medianBlur(part, 7)
    return (part > 0) & region


def recolour_parts(image: np.ndarray, mask: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """The picture with a part of every object in another colour, as a shirt is beside trousers.

    Cut-outs and what stands out in a photograph are mostly of one piece; what people annotate is not, and a network
    that never had to will not carry a stroke over a change of colour.

    Args:
        image: uint8 H x W x 3.
        mask: uint8 H x W of object ids, 0 background.
        generator: the only source of chance.

    Returns:
        A new uint8 H x W x 3.
    """
    result = image.astype(np.float32)
    for object_id in np.flatnonzero(np.bincount(mask.reshape(-1), minlength=256)[1:] >= SMALLEST) + 1:
        part = random_part(image, mask == object_id, generator)
        share = cv2.GaussianBlur(part.astype(np.float32), (0, 0), SEAM)[..., None]
        gain = np.exp(generator.normal(0, 0.3) + generator.normal(0, 0.35, 3))
        offset = generator.normal(0, 25) + generator.normal(0, 25, 3)
        result += share * (result * (gain - 1) + offset)
    return np.clip(result, 0, 255).astype(np.uint8)
