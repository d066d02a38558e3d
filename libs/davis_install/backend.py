"""Build backend that makes an installable wheel of davisinteractive 1.0.4 out of its source distribution.

The published source distribution cannot be installed on a current Python, for three reasons:

1. its `setup.py` imports NumPy and Cython before pip could know that it needs them;
2. it pins `scikit-learn==0.20.3`, which has no wheel for a current Python and does not compile there;
3. it compiles a C extension, which only its client of the remote challenge server uses.

This backend lets pip fetch that source distribution, checks its SHA-256, and packs its Python and JSON files,
unchanged, into a wheel without the extension and with requirements that hold today.  `libs/davis_compat.py` does the
rest when the package is imported.  davisinteractive is under the GPL v3; nothing of it is stored in this repository.

pip passes its configuration (files and `PIP_*` variables) on to this backend, but not its command-line options: give
another package index by the variable `PIP_INDEX_URL`, not by an option.
"""

from __future__ import annotations

import base64
import hashlib
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

NAME, VERSION = "davisinteractive", "1.0.4"
SHA256 = "e6c71675bf3db12d5304198cb22c0ea56dcdbca1d99961b2273ce89ed12b81c9"
DIST_INFO = f"{NAME}-{VERSION}.dist-info"
WHEEL_NAME = f"{NAME}-{VERSION}-py3-none-any.whl"

# Its own list without the pin of scikit-learn; lower bounds are the oldest that the compatibility layer can patch.  The
# headless OpenCV replaces the other one, whose windows clash with Qt and need system libraries.
REQUIREMENTS = (
    "absl-py>=0.1.13",
    "networkx>=3.0",
    "numpy>=1.24",
    "opencv-python-headless>=4.6",
    "pandas>=2.0",
    "Pillow>=9.4",
    "requests>=2.21.0",
    "scikit-image>=0.21",
    "scikit-learn>=1.2",
    "scipy>=1.10",
    "six>=1.10.0",
)

METADATA = (
    f"Metadata-Version: 2.1\nName: {NAME}\nVersion: {VERSION}\n"
    "Summary: Evaluation Framework for DAVIS Interactive Segmentation\n"
    "Home-page: https://github.com/albertomontesg/davis-interactive\n"
    "Author: Alberto Montes\nLicense: GPL v3\nRequires-Python: >=3.10\n"
) + "".join(f"Requires-Dist: {requirement}\n" for requirement in REQUIREMENTS)

WHEEL = "Wheel-Version: 1.0\nGenerator: davis_install\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def build_wheel(
    wheel_directory: str, config_settings: dict | None = None, metadata_directory: str | None = None
) -> str:
    """PEP 517 hook: writes the wheel into `wheel_directory` and returns its file name.

    Raises:
        RuntimeError: The source distribution could not be fetched, or is not the one that was published.
    """
    with tempfile.TemporaryDirectory() as folder:
        files = _package_files(_download(Path(folder)))
    files[f"{DIST_INFO}/METADATA"] = METADATA.encode()
    files[f"{DIST_INFO}/WHEEL"] = WHEEL.encode()
    record = "".join(f"{name},sha256={_digest(data)},{len(data)}\n" for name, data in files.items())
    files[f"{DIST_INFO}/RECORD"] = f"{record}{DIST_INFO}/RECORD,,\n".encode()
    with zipfile.ZipFile(Path(wheel_directory) / WHEEL_NAME, "w", zipfile.ZIP_DEFLATED) as wheel:
        for name, data in files.items():
            wheel.writestr(zipfile.ZipInfo(name, date_time=(2020, 1, 1, 0, 0, 0)), data, zipfile.ZIP_DEFLATED)
    return WHEEL_NAME


def build_sdist(sdist_directory: str, config_settings: dict | None = None) -> str:
    """PEP 517 hook that has no meaning here: the source distribution is the published one."""
    raise NotImplementedError(f"{NAME} has a source distribution; this backend only builds a wheel out of it")


def _download(folder: Path) -> Path:
    """The published source distribution, fetched by pip into `folder`."""
    # pip runs setup.py to read the metadata of what it downloads.  Two modules that only satisfy its imports spare the
    # download of NumPy and Cython, and the translation of the extension to C.
    stubs = folder / "stubs"
    (stubs / "Cython").mkdir(parents=True)
    (stubs / "numpy.py").write_text("def get_include():\n    return ''\n")
    (stubs / "Cython" / "__init__.py").write_text("")
    (stubs / "Cython" / "Build.py").write_text("def cythonize(extensions):\n    return []\n")
    path = os.pathsep.join(filter(None, [str(stubs), os.environ.get("PYTHONPATH")]))
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-binary", NAME, "--no-build-isolation"]
    command += ["--use-pep517", "--disable-pip-version-check", "--dest", str(folder), f"{NAME}=={VERSION}"]
    done = subprocess.run(
        command,
        env={**os.environ, "PYTHONPATH": path},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    archive = folder / f"{NAME}-{VERSION}.tar.gz"
    if done.returncode != 0 or not archive.is_file():
        raise RuntimeError(
            f"pip could not fetch the source distribution of {NAME} {VERSION} (is the package index reachable?):\n"
            f"{done.stdout}\n{done.stderr}"
        )
    found = hashlib.sha256(archive.read_bytes()).hexdigest()
    if found != SHA256:
        raise RuntimeError(f"{archive.name} has SHA-256 {found}, expected {SHA256}: not the published file")
    return archive


def _package_files(archive: Path) -> dict[str, bytes]:
    """File name in the wheel -> content: the Python and JSON files of the package in `archive`, sorted by name."""
    files = {}
    with tarfile.open(archive) as tar:
        for member in tar.getmembers():
            name = member.name.partition("/")[2]
            if member.isfile() and name.startswith(f"{NAME}/") and name.endswith((".py", ".json")):
                files[name] = tar.extractfile(member).read()
    return dict(sorted(files.items()))


def _digest(data: bytes) -> str:
    """SHA-256 as wheels record it: URL-safe base64 without padding."""
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
