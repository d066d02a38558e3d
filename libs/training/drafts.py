"""Drafts: wrong masks for practising corrections.

What a network gets wrong on rendered clips is a border here and there; on a real video whole parts are missing (a leg,
a shirt of another colour) or come along with the object (the shadow, a neighbour), and look-alikes are taken for one
another as a whole.  A draft is the truth with such an error made on purpose, so that a stroke on it teaches how far the
stroke is meant to reach.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from dataset_torch.parts import random_part

SMALLEST = 16  # pixels of an object that is worth a draft
CONFUSED = 0.35  # probability that two objects are taken for one another, where there are two
REACH = 0.6  # of the object's size: how far round it background may be taken for the object


def draft(
    image: np.ndarray, truth: np.ndarray, object_ids: Sequence[int], generator: np.random.Generator
) -> np.ndarray:
    """A wrong version of `truth`: some objects lose a part, some gain one, or two are confused.

    Args:
        image: uint8 H x W x 3; colours decide what a part is.
        truth: uint8 H x W of ids; only `object_ids` are kept.
        generator: the only source of chance.

    Returns:
        uint8 H x W of ids.
    """
    result = np.where(np.isin(truth, object_ids), truth, 0).astype(np.uint8)
    present = [i for i in object_ids if (truth == i).sum() >= SMALLEST]
    confused: list[int] = []
    if len(present) > 1 and generator.random() < CONFUSED:
        confused = [int(i) for i in generator.choice(present, 2, replace=False)]
        result[truth == confused[0]] = confused[1]
        if generator.random() < 0.5:  # swapped; else both are the second
            result[truth == confused[1]] = confused[0]
    for object_id in present:
        if object_id in confused:
            continue
        inside = truth == object_id
        chance = generator.random()
        if chance < 0.55:
            lost = random_part(image, inside, generator)
            others = [i for i in object_ids if i != object_id]
            taken = generator.choice(others) if others and generator.random() < 0.25 else 0
            result[lost] = taken
        elif chance < 0.85:
            around = _surroundings(inside) & ~np.isin(truth, object_ids)
            if around.any():
                result[random_part(image, around, generator)] = object_id
        elif chance < 0.95:
            result[inside] = 0
    return result


def _surroundings(inside: np.ndarray) -> np.ndarray:
    """The background within `REACH` of the object's size."""
    size = 2 * max(2, round(REACH * float(np.sqrt(inside.sum())) / 2)) + 1
    grown = cv2.dilate(inside.astype(np.uint8), cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size)))
    return (grown > 0) & ~inside
