"""Exit status and words of a script."""

import shlex
import subprocess
import sys

import pytest

from dataset_torch.errors import UserError
from libs.scripts import exit_status


def test_status_and_words(capsys):
    assert exit_status(lambda: None) == 0
    assert exit_status(lambda: (_ for _ in ()).throw(UserError("mend it"))) == 2
    assert capsys.readouterr().err == "error: mend it\n"
    assert exit_status(lambda: (_ for _ in ()).throw(KeyboardInterrupt), on_interrupt="go on") == 130
    assert "go on" in capsys.readouterr().err


def test_our_own_faults_are_not_hidden():
    with pytest.raises(ZeroDivisionError):
        exit_status(lambda: 1 / 0)


def test_a_reader_that_leaves_is_no_error():
    program = (
        "import sys; from libs.scripts import exit_status\n"
        "sys.exit(exit_status(lambda: [print(i) for i in range(99999)]))"
    )
    done = subprocess.run(
        f"{shlex.quote(sys.executable)} -c {shlex.quote(program)} | head -1", shell=True, capture_output=True, text=True
    )
    assert done.stdout == "0\n" and done.stderr == ""
