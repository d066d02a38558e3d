"""Recipes and command-line settings."""

from __future__ import annotations

import pytest

from dataset_torch.errors import UserError
from libs.training.data import open_set
from libs.training.recipe import RECIPES, check_recipe, load_recipe
from tests.libs.training.toys import tiny_recipe
from train import arguments, settings


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_passes_its_own_check(name: str) -> None:
    recipe = load_recipe(name, steps=1000)
    check_recipe(recipe)
    assert recipe.name == name
    assert sum(stage.share for stage in recipe.stages) == pytest.approx(1)


def test_stages_follow_their_shares() -> None:
    recipe = load_recipe("compact", steps=1000)
    first, second, *_, last = recipe.stages
    assert recipe.stage_at(0) is first and recipe.stage_at(999) is last and recipe.stage_at(5000) is last
    edge = round(first.share * 1000)
    assert recipe.stage_at(edge - 1) is first and recipe.stage_at(edge) is second


def test_bad_settings_are_named() -> None:
    with pytest.raises(UserError, match="no plain setting 'stepz'"):
        load_recipe("compact", stepz=3)
    with pytest.raises(UserError, match="there is no recipe 'huge'"):
        load_recipe("huge")
    with pytest.raises(UserError, match="write NAME=VALUE"):
        settings(["steps"])
    with pytest.raises(UserError, match="not a multiple of 32"):
        check_recipe(tiny_recipe(stages=(load_recipe("compact").stages[0].__class__(1, (2, 2), (1,), size=(60, 64)),)))


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        ("seed=-1", "seed is -1, and must be 0 or more"),
        ("steps=abc", "steps is a whole number, not 'abc'"),
        ("steps=0", "must be 1 or more"),
        ("clips_per_step=2.5", "clips_per_step is a whole number, not 2.5"),
        ("save_seconds=x", "save_seconds is a number"),
        ("validate_seconds=nan", "validate_seconds is a number"),
        ("smallest_crop=5", "at most 1"),
        ("learning_rate=-1", "must be positive"),
        ("learning_rate=inf", "learning_rate is a number"),
        ("gradient_norm=0", "must be positive"),
        ("average_decay=2", "below 1"),
        ("average_decay=1", "below 1"),
        ("name=x", "no plain setting 'name'"),
        ("architecture=resnet50", "no plain setting 'architecture'"),
        ("validation_clips=0", "1 or more"),
    ],
)
def test_settings_that_cannot_be_trained_with_are_refused(pair: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_recipe("compact", **settings([pair]))


def test_whole_numbers_may_be_fractions_and_the_other_way_round() -> None:
    recipe = load_recipe("compact", **settings(["learning_rate=1", "steps=1e3"]))
    assert (recipe.learning_rate, recipe.steps) == (1.0, 1000)
    assert isinstance(recipe.learning_rate, float) and isinstance(recipe.steps, int)


def test_settings_become_numbers() -> None:
    assert settings(["steps=10", "learning_rate=1e-3", "precision=float32"]) == {
        "steps": 10,
        "learning_rate": 0.001,
        "precision": "float32",
    }
    assert arguments(["--data", "clips:a", "--out", "b"]).recipe == "compact"


@pytest.mark.parametrize(
    ("specification", "message"),
    [
        ("somewhere", "Write KIND:PATH"),
        ("videos:a", "unknown training set"),
        ("clips:a*b", "is no weight"),
        ("clips:a*-1", "must be positive"),
        ("clips:a*nan", "must be positive"),
        ("images:a", "needs two folders"),
        ("clips:/does/not/exist", "holds no rendered clips"),
    ],
)
def test_a_bad_training_set_is_refused_with_the_remedy(specification: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        open_set(specification)


@pytest.mark.parametrize("precision", ["float16", "auto"])
def test_a_precision_that_training_cannot_have_is_refused(precision: str) -> None:
    with pytest.raises(UserError, match="float32 or bfloat16"):
        load_recipe("compact", precision=precision)
