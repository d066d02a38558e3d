"""Settings: precedence, conversion, refusal, help."""

import dataclasses
import os
from pathlib import Path

import pytest

import config
from config import Config, parse_config
from dataset_torch.errors import UserError


def parse(*arguments, **environment):
    return parse_config(arguments, environment=environment)


def test_defaults_are_those_of_the_file():
    assert parse() == Config()


def test_the_command_line_wins_over_the_environment_and_that_over_the_file():
    assert parse(GIS_ROUNDS="3").rounds == 3
    assert parse("--rounds", "5", GIS_ROUNDS="3").rounds == 5


def test_values_get_their_types():
    got = parse(
        "--guidance", "RS1,RS4", "--davis-root", "/data", "--resume", "false", "--save-masks", "--time-limit", "240",
        "--youtube-point-counts", "5", "--run-name", "none", "--davis-sequences", "",
    )  # fmt: skip
    assert got.guidance == ("RS1", "RS4") and got.davis_root == Path("/data") and got.resume is False
    assert got.save_masks is True and got.time_limit == 240.0 and got.youtube_point_counts == (5,)
    assert got.run_name is None and got.davis_sequences == ()


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--metric", "IoU"], "Choose from J, F, J_AND_F"),
        (["--guidance", "wo_RS,RS9"], "Choose from wo_RS, RS1, RS4"),
        (["--guidance", ""], "--guidance cannot be"),
        (["--rounds", "many"], "whole number"),
        (["--rounds", "0"], "--rounds cannot be 0"),
        (["--threads", "-1"], "--threads cannot be -1"),
        (["--time-limit", "nan"], "finite"),
        (["--time-limit", "-5"], "--time-limit cannot be"),
        (["--resume", "maybe"], "true or false"),
        (["--precision", "double"], "float32, bfloat16, float16"),
        (["--range-proportion", "2"], "--range-proportion"),
        (["--short-side", "8"], "--short-side"),
        (["--davis-root", ""], "empty"),
    ],
)
def test_impossible_values_are_refused_with_what_is_possible(arguments, message):
    with pytest.raises(UserError, match=message):
        parse(*arguments)


def test_none_empties_a_list():
    assert parse("--davis-sequences", "none").davis_sequences == ()


def test_a_misspelt_variable_is_refused():
    with pytest.raises(UserError, match="GIS_DAVIS_ROOTS"):
        parse(GIS_DAVIS_ROOTS="/data")


def test_help_shows_every_field_with_its_comment(capsys):
    with pytest.raises(SystemExit):
        parse("--help")
    shown = " ".join(capsys.readouterr().out.split())
    comments = config._comments()
    for field in dataclasses.fields(Config):
        assert "--" + field.name.replace("_", "-") in shown
        assert comments[field.name], f"{field.name} has no comment"
        assert comments[field.name] in shown


def test_every_field_is_in_one_group():
    found = [name for _, _, names in config._groups() for name in names]
    assert found == config.setting_names()
    titles = {title.partition(" (")[0] for title, _, _ in config._groups()}
    assert titles == {*config.DAVIS_GROUPS, *config.YOUTUBE_GROUPS, *config.APP_GROUPS}


@pytest.mark.parametrize(
    ("arguments", "shown", "hidden"),
    [
        ({"groups": config.DAVIS_GROUPS}, "--time-limit", "--youtube-root"),
        ({"groups": config.YOUTUBE_GROUPS}, "--youtube-root", "--davis-subset"),
        ({"positional": "video"}, "--port", "--youtube-root"),
    ],
)
def test_a_script_shows_the_groups_that_it_uses_and_understands_all(arguments, shown, hidden, capsys):
    with pytest.raises(SystemExit):
        parse_config(["--help"], environment={}, **arguments)
    told = capsys.readouterr().out
    assert shown in told and hidden not in told and len(told.split("\n\n")[0].splitlines()) == 1
    assert ("[VIDEO]" in told.splitlines()[0]) == ("positional" in arguments)
    assert "Network:\n" in told and "\nProtocol:\n  none = what the network" in told
    assert parse_config(["--youtube-root", "x"], environment={}, **arguments).youtube_root == Path("x")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--guidence", "RS4"], "did not understand '--guidence', did you mean --guidance?; --help lists the options"),
        (["--davis_root=x"], "did not understand '--davis_root', did you mean --davis-root?; --help lists"),
        (["--xyzzy"], "did not understand '--xyzzy'; --help lists the options"),
        (["--davis-root", "/my", "data"], "did not understand 'data'; put a path with spaces in quotes; --help lists"),
        (["--rounds"], "argument --rounds: expected one argument; --help lists the options"),
    ],
)
def test_what_is_mistyped_is_told_in_one_line(arguments, message, capsys):
    with pytest.raises(SystemExit) as caught:
        parse(*arguments)
    told = capsys.readouterr().err
    assert caught.value.code == 2 and message in told and told.count("\n") == 1


def test_the_record_of_a_run_is_plain():
    import json

    assert json.loads(json.dumps(config.as_dict(Config())))["guidance"] == ["wo_RS", "RS4"]


def test_no_record_shows_the_token(monkeypatch):
    from libs.runs import command_line

    for name in [name for name in os.environ if name.startswith("GIS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("GIS_TOKEN", "hush")
    monkeypatch.setenv("GIS_CHROMIUM", "chromium")  # the tests' own, no setting
    monkeypatch.setenv("GIS_THREADS", "2")
    assert "token" not in config.as_dict(Config(token="hush"))
    for given in (["--token", "hush", "--port", "1"], ["--token=hush", "--port", "1"]):
        assert command_line(["IVOS_app.py", *given]) == "GIS_THREADS=2 python IVOS_app.py --port 1"
