"""Exit status and words of a script."""

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
