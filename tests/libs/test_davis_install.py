"""davisinteractive installs out of its source distribution, without a compiler, NumPy or Cython."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "libs" / "davis_install"
sys.path.insert(0, str(PACKAGE))
import backend  # noqa: E402

sys.path.remove(str(PACKAGE))


@pytest.mark.slow
def test_it_installs_into_an_empty_environment_without_a_compiler(tmp_path):
    """Needs the package index; nothing may come from a cache of wheels that were built earlier."""
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)
    python = tmp_path / "venv" / ("Scripts" if os.name == "nt" else "bin") / "python"
    (tmp_path / "home").mkdir()
    environment = {**os.environ, "HOME": str(tmp_path / "home"), "CC": "false", "CXX": "false"}
    command = [str(python), "-m", "pip", "install", "--no-cache-dir", "--no-deps", str(PACKAGE)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    check = (
        "import davisinteractive, importlib.metadata as m; print(davisinteractive.__version__); print(m.requires('d'))"
    )
    check = check.replace("'d'", "'davisinteractive'")
    printed = subprocess.run([str(python), "-c", check], capture_output=True, text=True, check=True).stdout
    assert printed.startswith("1.0.4")
    assert "scikit-learn>=" in printed
    assert "==" not in printed
    assert "opencv-python-headless" in printed


def test_the_wheel_holds_python_and_data_only(tmp_path):
    names = ["davisinteractive/__init__.py", "davisinteractive/dataset/davis.json", "davisinteractive/x/_mask.c"]
    archive = tmp_path / "davisinteractive-1.0.4.tar.gz"
    (tmp_path / "empty").write_text("")
    with tarfile.open(archive, "w:gz") as tar:
        for name in (*names, "setup.py"):
            tar.add(tmp_path / "empty", arcname=f"davisinteractive-1.0.4/{name}")
    assert list(backend._package_files(archive)) == names[:2]


def test_another_file_of_that_name_is_refused(tmp_path, monkeypatch):
    def download(command, **_):
        Path(command[command.index("--dest") + 1], "davisinteractive-1.0.4.tar.gz").write_bytes(b"something else")
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", download)
    with pytest.raises(RuntimeError, match="not the published file"):
        backend.build_wheel(str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_no_index_is_told(tmp_path, monkeypatch):
    failed = subprocess.CompletedProcess([], 1, "", "no route to host")
    monkeypatch.setattr(subprocess, "run", lambda command, **_: failed)
    with pytest.raises(RuntimeError, match=r"is the package index reachable.*\n.*\nno route to host"):
        backend.build_wheel(str(tmp_path))
