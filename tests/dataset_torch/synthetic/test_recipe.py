import pytest

from dataset_torch.errors import UserError
from dataset_torch.synthetic.__main__ import main
from dataset_torch.synthetic.recipe import DEFAULT_RECIPE, changed_recipe
from dataset_torch.synthetic.shards import ClipShards
from tests.dataset_torch.toy_material import write_material


def test_settings_replace_the_defaults():
    recipe = changed_recipe(
        DEFAULT_RECIPE, ["area=0.003,0.15", "object_counts=.5,.25,.125,.125", "occluder=0", "smallest_object=20"]
    )
    assert recipe.area == (0.003, 0.15) and recipe.object_counts == (0.5, 0.25, 0.125, 0.125)
    assert (recipe.occluder, recipe.smallest_object) == (0.0, 20) and recipe.speed == DEFAULT_RECIPE.speed


@pytest.mark.parametrize(
    ("pair", "why"),
    [
        ("areas=1", "the names are steps"),
        ("area", "LOW,HIGH|numbers"),
        ("area=0.1", "LOW,HIGH"),
        ("area=0.4,0.1", "LOW,HIGH"),
        ("area=a,b", "numbers that are not negative, such as area=0.02,0.45"),
        ("speed=-1,1", "not negative"),
        ("speed=0,nan", "not negative"),
        ("object_counts=0.5,0.6", "add up to 1"),
        ("occluder=30", "between 0 and 1"),
        ("smallest_object=2.5", "such as smallest_object=60"),
    ],
)
def test_what_cannot_be_set_is_told(pair, why):
    with pytest.raises(UserError, match=why):
        changed_recipe(DEFAULT_RECIPE, [pair])


def test_the_command_line_takes_settings(tmp_path, capsys):
    folder = str(write_material(tmp_path / "m"))
    arguments = ["--material", folder, "--count", "1", "--steps", "2", "--size", "64", "112"]
    assert main([*arguments, "--out", str(tmp_path / "a"), "--set", "object_counts=0,0,1", "--set", "occluder=0"]) == 0
    assert len(ClipShards(tmp_path / "a")[0].object_ids) <= 3
    assert main([*arguments, "--out", str(tmp_path / "b"), "--set", "occluder=2"]) == 2
    assert "between 0 and 1" in capsys.readouterr().err and not (tmp_path / "b").exists()


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--steps", "0"], "1 frame or more"),
        (["--size", "0", "0"], "each side is 16"),
        (["--size", "8", "8"], "each side is 16"),
        (["--size", "48", "100000"], "each side is 16"),
        (["--set", "area=0,.1"], "must be above 0"),
        (["--set", "speed=0,0"], "must be above 0"),
        (["--set", "jpeg_quality=50,500"], "100 at most"),
        (["--set", "smallest_object=100000"], "Render larger frames"),
        (["--seed", "-1"], "--seed is 0 or more"),
        (["--count", "-1"], "--count is 0 or more"),
        (["--workers", "0"], "--workers is 1 or more"),
    ],
)
def test_what_cannot_be_rendered_is_refused_in_words(tmp_path, capsys, arguments, why):
    given = ["--material", str(write_material(tmp_path / "m")), "--count", "1", "--out", str(tmp_path / "o")]
    size = [] if "--size" in arguments else ["--size", "48", "80"]
    try:
        status = main([*given, *size, *arguments])
    except SystemExit as refusal:  # argparse's own way
        status = refusal.code
    assert status == 2 and why in capsys.readouterr().err
