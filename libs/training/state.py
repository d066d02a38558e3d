"""The state of a training run: everything that a killed run needs to go on exactly where it was."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dataset_torch.atomic import write_atomic
from dataset_torch.errors import UserError
from libs.training.recipe import Recipe

STATE_VERSION = 1
SCORE = "area of J&F"  # what `best` is; that of a run which validated by another measure is not comparable
PUBLISHED_ENCODERS = ("frame_encoder.", "interaction.encoder.")
GROUP_SETTINGS = ("scale", "weight_decay")  # of the optimiser's groups: by the recipe, not by the saved state
WITHOUT_EFFECT = ("name", "seed", "save_seconds", "validate_seconds", "validation_clips")  # on the weights, or refused


class MovingAverage:
    """Exponential moving average of the trained weights; short-sighted in the beginning, when weights move fast."""

    def __init__(self, parameters: dict[str, Tensor], decay: float) -> None:
        self.decay = decay
        self.count = 0
        self.values = {name: p.detach().clone() for name, p in parameters.items()}

    @torch.no_grad()
    def update(self, parameters: dict[str, Tensor]) -> None:
        """Move towards the present weights."""
        self.count += 1
        decay = min(self.decay, (1 + self.count) / (10 + self.count))
        for name, value in self.values.items():
            value.lerp_(parameters[name].detach(), 1 - decay)


@dataclass
class RunState:
    """What is saved.  Chance needs no state: every pass draws from a generator seeded by the run's seed and the number
    of the pass, so that `step` is the data position and the state of every generator in one."""

    network: nn.Module
    optimiser: torch.optim.Optimizer
    average: MovingAverage
    step: int = 0  # steps done
    passes: int = 0  # clips seen
    seconds: float = 0.0  # of computing, over all resumed parts
    best: float = -1.0  # best validation figure
    best_of: str = ""  # the clips that `best` was measured on, in words; "": unknown
    bad_steps: int = 0  # skipped because the loss was not finite
    history: list[dict[str, float]] = field(default_factory=list)  # validation figures

    def save(self, path: Path, recipe: Recipe, data: Sequence[str] = ()) -> None:
        """Write atomically; `data`: the sets as they were given."""
        content = {
            "format": "gis-training",
            "version": STATE_VERSION,
            "recipe": recipe.name,
            "seed": recipe.seed,
            "settings": settings_in_words(recipe, data),
            "score": SCORE,
            "network": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "average": self.average.values,
            "average_count": self.average.count,
            **{name: getattr(self, name) for name in self._plain()},
        }
        write_atomic(path, lambda file: torch.save(content, file))

    def restore(self, content: dict[str, Any], path: Path, recipe: Recipe, data: Sequence[str] = ()) -> list[str]:
        """Become what `read_state` gave; in words, what else was different then: it ends exactness, not the run.

        Raises `UserError` for another recipe's run.
        """
        if content["recipe"] != recipe.name or content["seed"] != recipe.seed:
            raise UserError(
                f"{path} is the state of recipe {content['recipe']!r} with seed {content['seed']}, not of "
                f"{recipe.name!r} with seed {recipe.seed}. Use another output folder, or the same recipe and seed."
            )
        try:
            self.network.load_state_dict(content["network"])
            set_here = [{name: group[name] for name in GROUP_SETTINGS} for group in self.optimiser.param_groups]
            self.optimiser.load_state_dict(content["optimiser"])
            for group, values in zip(self.optimiser.param_groups, set_here):
                group.update(values)  # else a setting that was changed would go on as it was
        except (RuntimeError, ValueError) as error:
            raise UserError(f"{path} does not fit the recipe's network or its trained parts: {error}") from error
        # Weights that are trained only since this part of the run start their average at their present value.
        for name, value in self.average.values.items():
            value.copy_(content["average"].get(name, dict(self.network.named_parameters())[name].detach()))
        self.average.count = content["average_count"]
        for name in self._plain():
            setattr(self, name, content.get(name, getattr(self, name)))  # earlier versions lack some
        if content.get("score") != SCORE:
            self.best = -1.0
        return _differences(content.get("settings", {}), settings_in_words(recipe, data))

    @staticmethod
    def _plain() -> tuple[str, ...]:
        return ("step", "passes", "seconds", "best", "best_of", "bad_steps", "history")

    def validate_on(self, clips: str) -> str:
        """From here on `best` is measured on `clips` (in words; "": there is no validation).

        A figure of other clips is not comparable and is forgotten; then in words why, else "".
        """
        before = self.best_of
        if not clips or clips == before:
            return ""
        self.best_of = clips
        if not before or self.best < 0:
            return ""
        self.best = -1.0
        return f"validation was on {before}, is on {clips}"


def settings_in_words(recipe: Recipe, data: Sequence[str]) -> dict[str, str]:
    """What a resumed run should have in common with its beginning."""
    fields = [f.name for f in dataclasses.fields(recipe) if f.name not in WITHOUT_EFFECT]
    return {**{name: repr(getattr(recipe, name)) for name in fields}, "data": " ".join(data)}


def _differences(old: dict[str, str], new: dict[str, str]) -> list[str]:
    """A line for everything that is not as it was; what is long is only named."""
    lines = []
    for name in new:
        if name in old and old[name] != new[name]:
            short = name == "data" or len(old[name] + new[name]) < 100
            lines.append(f"{name} was {old[name]}, is {new[name]}" if short else f"{name} is not what it was")
    return lines


def read_state(path: Path) -> dict[str, Any]:
    """A saved state as it is on disk; `UserError` if it is none."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file fails anywhere in the decoder
        raise UserError(f"{path} cannot be read as a training state ({error}). Delete it to start afresh.") from error
    if not isinstance(content, dict) or content.get("format") != "gis-training":
        raise UserError(f"{path} is no training state. Delete it to start afresh, or choose another output folder.")
    if content.get("version") != STATE_VERSION:
        raise UserError(f"{path} was written by another version of the training code ({content.get('version')}).")
    return content


def learning_rate_factor(step: int, recipe: Recipe) -> float:
    """Factor of the learning rate at `step` (from 0): linear warm-up, then a cosine down to `final_rate`."""
    warm = min(1.0, (step + 1) / max(recipe.warm_up_steps, 1))
    progress = min(step / max(recipe.steps, 1), 1.0)
    cosine = 0.5 * (1 + math.cos(math.pi * progress))
    return warm * (recipe.final_rate + (1 - recipe.final_rate) * cosine)


def is_backbone(name: str) -> bool:
    """Whether a parameter belongs to a pretrained part (by its name).

    Of the published network's encoders squeeze-and-excitation is none: it starts anew.
    """
    fresh = ".squeeze." in name or ".excite." in name
    return "backbone" in name or (name.startswith(PUBLISHED_ENCODERS) and not fresh)


def trained_parameters(network: nn.Module, recipe: Recipe) -> dict[str, nn.Parameter]:
    """Freeze the backbone but for `recipe.unfrozen` (or all but `recipe.only`); the trained parameters by name."""
    trained = {}
    for name, parameter in network.named_parameters():
        free = name.startswith(recipe.only or recipe.unfrozen) or not (recipe.only or is_backbone(name))
        parameter.requires_grad_(free)
        if free:
            trained[name] = parameter
    return trained


def make_optimiser(parameters: dict[str, nn.Parameter], recipe: Recipe) -> torch.optim.AdamW:
    """AdamW; no weight decay on biases, norms and scalars, a smaller rate for the backbone.

    All four groups are always there, whatever a recipe trains: a state knows its groups by their position.
    """
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {(b, d): [] for b in (False, True) for d in (False, True)}
    for name, parameter in parameters.items():
        groups[is_backbone(name), parameter.dim() > 1].append(parameter)
    return torch.optim.AdamW(
        [
            {
                "params": group,
                "scale": recipe.backbone_rate if backbone else 1.0,
                "weight_decay": recipe.weight_decay if decayed else 0.0,
            }
            for (backbone, decayed), group in groups.items()
        ],
        lr=recipe.learning_rate,
    )


def set_learning_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Give every group its share of `rate`."""
    for group in optimiser.param_groups:
        group["lr"] = rate * group["scale"]
