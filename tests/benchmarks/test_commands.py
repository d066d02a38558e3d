"""What a benchmark is told wrongly it says in words, before it measures."""

from __future__ import annotations

import pytest

from tests.benchmarks import __main__ as speed
from tests.benchmarks import app, long_video, scripted_user


@pytest.mark.parametrize(
    ("main", "arguments", "words"),
    [
        (speed.main, ["--out", "{file}/out"], "cannot write"),
        (app.main, ["--video", "{file}"], "no folder of .jpg frames"),
        (app.main, ["--out", "{file}/latency.json"], "cannot write"),
        (app.main, ["--checkpoint", "nosuch"], "there is no checkpoint"),
        (long_video.main, ["--out", "{file}/long.csv"], "cannot write"),
        (scripted_user.main, ["--davis-root", "{file}", "--sequence", "x"], "error: "),
        (scripted_user.main, ["--davis-root", ".", "--sequence", "x", "--guidance", "RS2"], "none, RS1, RS4"),
    ],
)
def test_wrong_arguments_end_with_2_and_a_reason(main, arguments, words, tmp_path, capsys):
    file = tmp_path / "file"
    file.touch()
    assert main([a.format(file=file) for a in arguments]) == 2
    assert words in capsys.readouterr().err
