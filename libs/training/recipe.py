"""What a training run does, as plain values; the recipes themselves are in libs/training/recipes/."""

from __future__ import annotations

import dataclasses
import importlib
import math
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from dataset_torch.errors import UserError
from libs.simulated_user import UserStyle

RECIPES = (
    "compact",
    "compact_borders",
    "compact_chains",
    "compact_joint",
    "compact_motion",
    "compact_quality",
    "compact_strokes",
    "compact_whole",
    "resnet50",
)


@dataclass(frozen=True)
class LossWeights:
    """Weights of the terms of the loss; see libs/training/losses.py for each."""

    cross_entropy: float = 2.0
    jaccard: float = 1.0
    border: float = 0.0  # how much more the cross entropy counts within three pixels of an object's border
    interaction: float = 0.7  # of the same two terms on the interaction branch's own mask
    transferred: float = 0.3
    matched: float = 0.15
    warped: float = 0.15
    motion: float = 1.0  # of the colours that the neighbour, warped, has wrong
    frame_reliability: float = 0.1
    correctness: float = 0.2
    quality: float = 0.1
    ranking: float = 0.1


@dataclass(frozen=True)
class Stage:
    """A part of the run; lengths and sizes grow from stage to stage, short chains first."""

    share: float  # of all steps
    length: tuple[int, int]  # frames of a clip, from .. to
    rounds: tuple[float, ...]  # probability of 1, 2, ... rounds
    size: tuple[int, int] = (160, 288)  # height and width of the network's input, multiples of 32
    max_objects: int = 2
    stride: int = 2  # frames of the video between two frames of a clip, at most
    finished_mask: float = 0.2  # probability that round 1 gives the true mask instead of strokes
    corruption: float = 0.3  # probability that a neighbour's mask is damaged before it is used
    graded: float = 1.0  # share of a long chain's frames that are learned from; the others only carry the masks on
    practice: float = 0.0  # frames per pass (on average) on which the interaction alone is practised
    data: tuple[str, ...] = ()  # kinds of training sets (libs/training/data.py); empty: all that were given


@dataclass(frozen=True)
class Recipe:
    """A whole run."""

    name: str
    architecture: str  # compact or resnet50
    stages: tuple[Stage, ...]
    steps: int = 4000
    clips_per_step: int = 3  # over all processes together
    learning_rate: float = 1.5e-3
    backbone_rate: float = 0.1  # relative to `learning_rate`
    unfrozen: tuple[str, ...] = ()  # prefixes of backbone parameters that are trained
    only: tuple[str, ...] = ()  # prefixes of the only parameters that are trained; empty: all that are not frozen
    warm_up_steps: int = 50
    final_rate: float = 0.01  # relative to `learning_rate`, at the end of the cosine
    weight_decay: float = 1e-4
    gradient_norm: float = 1.0
    average_decay: float = 0.998  # of the exponential moving average of the weights
    precision: str = "float32"
    smallest_crop: float = 0.65  # side of the crop relative to the frame, at least
    colour: float = 0.4  # strength of the colour jitter
    recolour: float = 0.0  # probability that a part of every object of a single picture changes its colour
    style: UserStyle = field(default_factory=UserStyle)
    loss: LossWeights = field(default_factory=LossWeights)
    bad_steps_allowed: int = 20  # steps in a row with a loss that is not finite
    save_seconds: float = 180
    validate_seconds: float = 900
    validation_clips: int = 8
    seed: int = 1

    def stage_at(self, step: int) -> Stage:
        """The stage that step `step` (from 0) belongs to."""
        done = 0.0
        for stage in self.stages:
            done += stage.share
            if step < round(done / sum(s.share for s in self.stages) * self.steps):
                return stage
        return self.stages[-1]


# Of the numbers that can be set: from, to (both included unless said), and how a message calls it.
_NUMBERS: dict[str, tuple[float, float, str]] = {
    "steps": (1, 1e9, "1 or more"),
    "clips_per_step": (1, 1e6, "1 or more"),
    "learning_rate": (1e-12, 1e3, "positive"),
    "backbone_rate": (0, 1e3, "0 or more"),
    "warm_up_steps": (0, 1e9, "0 or more"),
    "final_rate": (0, 1, "between 0 and 1"),
    "weight_decay": (0, 1e3, "0 or more"),
    "gradient_norm": (1e-12, 1e12, "positive"),
    "average_decay": (0, 1 - 1e-12, "0 or more and below 1"),
    "smallest_crop": (1e-3, 1, "above 0 and at most 1"),
    "colour": (0, 10, "0 or more"),
    "recolour": (0, 1, "between 0 and 1"),
    "bad_steps_allowed": (1, 1e9, "1 or more"),
    "save_seconds": (0, 1e9, "0 or more"),
    "validate_seconds": (0, 1e9, "0 or more"),
    "validation_clips": (1, 1e6, "1 or more"),
    "seed": (0, 2**31 - 1, "0 or more"),
}


def setting_names() -> list[str]:
    """The plain settings that `load_recipe` can change."""
    return sorted([*_NUMBERS, "precision"])


def purpose(name: str) -> str:
    """What a recipe is for, in one line."""
    return (_module(name).__doc__ or "").partition("\n")[0]


def load_recipe(name: str, /, **changes: Any) -> Recipe:
    """The recipe of that name with some plain fields replaced.  Raises `UserError` for unknown names or bad values."""
    recipe = _module(name).RECIPE
    names, kinds = setting_names(), {f.name: f.type for f in dataclasses.fields(Recipe)}
    for setting, value in changes.items():
        if setting not in names:
            raise UserError(f"a recipe has no plain setting {setting!r}; there are {', '.join(names)}.")
        changes[setting] = _of_kind(setting, value, kinds[setting])
    recipe = dataclasses.replace(recipe, **changes)
    check_recipe(recipe)
    return recipe


def _module(name: str) -> ModuleType:
    if name not in RECIPES:
        raise UserError(f"there is no recipe {name!r}; choose one of {', '.join(RECIPES)}.")
    return importlib.import_module(f"libs.training.recipes.{name}")


def _of_kind(setting: str, value: Any, kind: str) -> Any:
    """The value as its setting has it: 1 where a fraction is meant is 1.0."""
    if kind == "str":
        return str(value)
    if isinstance(value, str) or not math.isfinite(value) or (kind == "int" and value != int(value)):
        wanted = "a whole number" if kind == "int" else "a number"
        raise UserError(f"the setting {setting} is {wanted}, not {value!r}.")
    return int(value) if kind == "int" else float(value)


def check_recipe(recipe: Recipe) -> None:
    """Raise `UserError` if the recipe cannot be run."""
    if recipe.precision not in ("float32", "bfloat16"):  # float16 would need its gradients scaled
        raise UserError(f"recipe {recipe.name}: precision is float32 or bfloat16, not {recipe.precision!r}.")
    for name, (lowest, highest, wanted) in _NUMBERS.items():
        value = getattr(recipe, name)
        if not lowest <= value <= highest:  # neither is not a number
            raise UserError(f"recipe {recipe.name}: {name} is {value!r}, and must be {wanted}.")
    if not recipe.stages:
        raise UserError(f"recipe {recipe.name}: it needs stages.")
    for stage in recipe.stages:
        if any(n % 32 for n in stage.size):
            raise UserError(f"recipe {recipe.name}: the input size {stage.size} is not a multiple of 32.")
        if not 1 <= stage.length[0] <= stage.length[1]:
            raise UserError(f"recipe {recipe.name}: the clip length {stage.length} is not a range.")
