"""The published method's golden numbers (tests/data/golden) and how they are compared."""

from __future__ import annotations

import importlib.util
import json
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

FOLDER = Path(__file__).parent / "data" / "golden"


def _module(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"golden_{name}", FOLDER / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


inputs = _module("inputs")


@cache
def manifest() -> dict:
    """The published network's tensors, in order."""
    return json.loads((FOLDER / "manifest.json").read_text())


def published_weights() -> dict[str, Tensor]:
    """A state dict under the published names, filled by the golden recipe."""
    shapes = {n: torch.empty(s, dtype=getattr(torch, d)) for n, s, d in manifest()["state_dict"]}
    return _module("weights").fill(shapes)


@cache
def _arrays() -> dict[str, np.ndarray]:
    with np.load(FOLDER / "modules.npz") as file:
        return dict(file)


@cache
def index() -> dict[str, dict]:
    """What the golden file says of each entry."""
    return json.loads((FOLDER / "modules_index.json").read_text())


def stored(name: str) -> np.ndarray:
    """A stored array as it is, strided or not."""
    return _arrays()[name]


def tolerance(name: str) -> float:
    """Largest difference allowed: ten times the rounding noise of the original, at least 1e-6."""
    return max(10 * index()[name]["f64_maxabs_err"], 1e-6)


def check(name: str, value: Tensor | np.ndarray | float) -> None:
    """Assert that `value` is the golden array `name` within its tolerance."""
    entry = index()[name]
    array = np.asarray(value.detach() if isinstance(value, Tensor) else value, dtype=np.float64)
    assert list(array.shape) == entry["shape"], f"{name}: shape {array.shape}, golden {entry['shape']}"
    own = array.ravel()[:: entry["stride"]]
    error = float(np.abs(own - stored(name).astype(np.float64).ravel()).max())
    assert error <= tolerance(name), f"{name}: differs by {error:.3g}, allowed {tolerance(name):.3g}"
    # The stored part may be strided; the norm sees the whole array.
    norm = float(np.linalg.norm(array))
    assert abs(norm - entry["l2"]) <= 1e-4 * max(entry["l2"], 1e-2), f"{name}: norm {norm}, golden {entry['l2']}"


def golden_json(name: str) -> Any:
    """The content of one golden JSON file, such as `utils.json`."""
    return json.loads((FOLDER / name).read_text())


def loop_scribbles(configuration: str, sequence: str) -> list[tuple[int, list[dict]]]:
    """Per round of the golden evaluation loop the annotated frame and its new strokes, in the DAVIS format.

    The framework's Bezier curve expands the robot's control points, so davisinteractive must be installed.
    """
    import libs.davis_compat  # noqa: F401  the framework does not run without it

    return _module("golden_io").rounds(configuration, sequence, str(FOLDER / "e2e"))
