"""Lets our own J and F stand in for the framework's, wherever it measures masks that one of our sessions handed out.

The figures are the same; J takes about a hundredth of the time, F a third.  The framework's own functions stay for
everything else, and for sessions opened with `fast=False`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from libs import metrics
from libs.davis_compat import StableOrder
from libs.davis_registry import MaskStack

# isort: split
from davisinteractive.evaluation import service


def _faster(measure: Callable[..., np.ndarray], ours: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    """`measure` of the framework, or `ours` when the ground truth is a `MaskStack`."""

    def measured(
        y_true: np.ndarray, y_pred: np.ndarray, average_over_objects: bool = True, nb_objects: int | None = None
    ) -> np.ndarray:
        if not isinstance(y_true, MaskStack) or nb_objects is None:
            return measure(y_true, y_pred, average_over_objects=average_over_objects, nb_objects=nb_objects)
        result = ours(y_true, y_pred, range(1, nb_objects + 1))
        return (result.mean(axis=1) if average_over_objects else result).view(StableOrder)

    return measured


service.batched_jaccard = _faster(service.batched_jaccard, metrics.jaccard)
service.batched_f_measure = _faster(service.batched_f_measure, metrics.f_measure)
