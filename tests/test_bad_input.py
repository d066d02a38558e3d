"""What a stranger can do wrong: the DAVIS script answers in words and with status 2, and nothing is lost."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import IVOS_main_DAVIS
from dataset_torch.masks import read_mask, write_mask
from libs.checkpoints import save_checkpoint
from networks.compact.network import CompactGIS
from tests.libs.davis_data import write_data


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("clean"))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained compact network."""
    path = tmp_path_factory.mktemp("checkpoint") / "untrained.pth"
    save_checkpoint(path, CompactGIS(), {"description": "untrained"})
    return path


@pytest.fixture
def data(clean: Path, tmp_path: Path) -> Path:
    """A data set that the test may spoil."""
    return Path(shutil.copytree(clean, tmp_path / "data"))


@pytest.fixture
def refused(monkeypatch, capsys, tmp_path, checkpoint) -> Callable[..., str]:
    """Run the script with these arguments; it must refuse them in words.  Earlier results must stay as they are."""
    earlier = tmp_path / "results" / "davis" / "earlier" / "summary.json"
    earlier.parent.mkdir(parents=True)
    earlier.write_text("figures")

    def run(*arguments: object) -> str:
        given = list(map(str, arguments))
        for name, value in (("--results-dir", tmp_path / "results"), ("--checkpoint", checkpoint)):
            if name not in given:
                given += [name, str(value)]
        monkeypatch.setattr("sys.argv", ["IVOS_main_DAVIS.py", *given])
        status = IVOS_main_DAVIS.main()
        output = capsys.readouterr()
        assert status == 2, output
        assert output.err.startswith("error: ") and "Traceback" not in output.err
        assert earlier.read_text() == "figures"
        return output.err

    return run


def frame(data: Path, sequence: str = "alpha", index: int = 2) -> Path:
    return data / "JPEGImages" / "480p" / sequence / f"{index:05d}.jpg"


def mask(data: Path, sequence: str = "alpha", index: int = 2) -> Path:
    return data / "Annotations" / "480p" / sequence / f"{index:05d}.png"


def scribbles(data: Path) -> Path:
    return data / "Scribbles" / "alpha" / "001.json"


def edit_scribbles(data: Path, change: Callable[[dict], None]) -> None:
    content = json.loads(scribbles(data).read_text())
    change(content)
    scribbles(data).write_text(json.dumps(content))


def set_point(value: float) -> Callable[[dict], None]:
    return lambda content: content["scribbles"][1][0]["path"][0].__setitem__(0, value)


def cut(path: Path, share: float = 0.5) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])


SPOILT: dict[str, tuple[Callable[[Path], object], str]] = {
    "no frames folder": (lambda d: shutil.rmtree(d / "JPEGImages"), "JPEGImages"),
    "no masks folder": (lambda d: shutil.rmtree(d / "Annotations"), "Annotations"),
    "no list of sequences": (lambda d: shutil.rmtree(d / "ImageSets"), "ImageSets"),
    "empty list": (lambda d: (d / "ImageSets/2017/val.txt").write_text("\n"), "val"),
    "listed sequence is not there": (lambda d: (d / "ImageSets/2017/val.txt").write_text("gamma\n"), "gamma"),
    "zero frames": (lambda d: [p.unlink() for p in frame(d).parent.iterdir()], "alpha"),
    "frame without mask": (lambda d: mask(d).unlink(), "00002"),
    "mask of another size": (lambda d: write_mask(mask(d), np.ones((10, 10), np.uint8)), "10x10"),
    "RGB mask": (lambda d: Image.fromarray(np.zeros((48, 64, 3), np.uint8)).save(mask(d)), "RGB"),
    "void label": (lambda d: write_mask(mask(d), np.where(read_mask(mask(d)) == 1, 255, 0).astype(np.uint8)), "255"),
    "no object at all": (
        lambda d: [write_mask(p, np.zeros((48, 64), np.uint8)) for p in mask(d).parent.iterdir()],
        "alpha",
    ),
    "truncated JPEG": (lambda d: cut(frame(d)), "00002.jpg"),
    "unreadable PNG": (lambda d: cut(mask(d)), "00002.png"),
    "frames of two sizes": (lambda d: Image.new("RGB", (30, 20)).save(frame(d)), "30x20"),
    "scribble outside 0..1": (lambda d: edit_scribbles(d, set_point(1.5)), "1.5"),
    "scribble that is NaN": (lambda d: edit_scribbles(d, set_point(float("nan"))), "001.json"),
    "unknown object id": (lambda d: edit_scribbles(d, lambda c: c["scribbles"][1][0].update(object_id=9)), "9"),
    "scribbles of another sequence": (lambda d: edit_scribbles(d, lambda c: c.update(sequence="beta")), "beta"),
    "scribbles of another length": (lambda d: edit_scribbles(d, lambda c: c["scribbles"].pop()), "5"),
    "scribbles without a stroke": (lambda d: edit_scribbles(d, lambda c: c["scribbles"][1].clear()), "001.json"),
    "scribbles that are no JSON": (lambda d: scribbles(d).write_text("{"), "001.json"),
    "scribble sets numbered with a gap": (lambda d: scribbles(d).rename(scribbles(d).with_name("004.json")), "001"),
}


@pytest.mark.parametrize("name", SPOILT)
def test_spoilt_data(name: str, data: Path, refused) -> None:
    spoil, told = SPOILT[name]
    spoil(data)
    assert told in refused("--davis-root", data)
    assert not list((data.parent / "results" / "davis").glob("*/*/samples/*"))


def test_no_scribbles_when_files_are_demanded(data: Path, refused) -> None:
    shutil.rmtree(data / "Scribbles")
    assert "Scribbles" in refused("--davis-root", data, "--scribbles", "files")


@pytest.mark.parametrize(
    "arguments, told",
    [
        (("--davis-root", "/nowhere"), "/nowhere"),
        (("--davis-subset", "vall"), "vall"),
        (("--davis-sequences", "alpha,omega"), "omega"),
        (("--metric", "IoU"), "J_AND_F"),
        (("--guidance", "RS5"), "RS1, RS4"),
        (("--rounds", "0"), "rounds"),
        (("--rounds", "eight"), "whole number"),
        (("--time-limit", "-1"), "time-limit"),
        (("--device", "tpu"), "device"),
        (("--device", "cuda:99"), "cuda"),
        (("--precision", "int4"), "float32"),
        (("--checkpoint", "best"), "best"),
        (("--checkpoint", "davis"), "drive.google.com"),
        (("--run-name", "../escape"), "run-name"),
        (("--threads", "-2"), "threads"),
    ],
)
def test_wrong_settings(arguments: tuple[str, ...], told: str, clean: Path, refused, monkeypatch, tmp_path) -> None:
    monkeypatch.setattr("libs.checkpoints.FOLDER", tmp_path)  # whatever was downloaded on this machine
    extra = () if "--davis-root" in arguments else ("--davis-root", clean)
    assert told in refused(*arguments, *extra)


class _Bomb:
    """Pickled code, which must not run."""

    def __reduce__(self):
        return (Path.touch, (Path("/tmp/gis-bomb-went-off"),))


CHECKPOINTS: dict[str, Callable[[Path], object]] = {
    "another network": lambda p: torch.save({"layer.weight": torch.zeros(3)}, p),
    "code inside": lambda p: p.write_bytes(pickle.dumps(_Bomb())),
    "truncated": lambda p: (save_checkpoint(p, CompactGIS(), {}), cut(p)),
    "empty": lambda p: p.write_bytes(b""),
    "a text": lambda p: p.write_text("<html>quota exceeded</html>"),
}


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_wrong_checkpoints(name: str, clean: Path, refused, tmp_path) -> None:
    path = tmp_path / "wrong.pth"
    CHECKPOINTS[name](path)
    assert "wrong.pth" in refused("--davis-root", clean, "--checkpoint", path)
    assert not Path("/tmp/gis-bomb-went-off").exists()


def test_a_results_folder_that_is_a_file(clean: Path, refused, tmp_path) -> None:
    (tmp_path / "file").write_text("")
    assert "cannot write" in refused("--davis-root", clean, "--results-dir", tmp_path / "file")


def test_a_full_disk(clean: Path, refused, monkeypatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    assert "No space left" in refused("--davis-root", clean)


def test_no_permission_to_write(clean: Path, refused, monkeypatch) -> None:
    def denied(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.NamedTemporaryFile", denied)
    assert "Permission denied" in refused("--davis-root", clean)


def test_a_folder_that_holds_something_else(clean: Path, refused, tmp_path) -> None:
    other = tmp_path / "results" / "davis" / "mine" / "thesis.txt"
    other.parent.mkdir()
    other.write_text("precious")
    assert "no run of ours" in refused("--davis-root", clean, "--run-name", "mine")
    assert "no run of ours" in refused("--davis-root", clean, "--run-name", "mine", "--resume", "false")
    assert other.read_text() == "precious"


def test_ids_with_gaps_are_no_error(data: Path, monkeypatch, tmp_path, checkpoint, capsys) -> None:
    for path in mask(data).parent.iterdir():
        ids = read_mask(path)
        write_mask(path, np.where(ids == 2, 7, ids).astype(np.uint8))
    for number in ("001", "002"):
        file = scribbles(data).with_name(f"{number}.json")
        file.write_text(file.read_text().replace('"object_id": 2', '"object_id": 7'))
    arguments = f"--davis-root {data} --davis-sequences alpha --rounds 1 --guidance wo_RS --pictures false"
    arguments += f" --results-dir {tmp_path / 'r'} --checkpoint {checkpoint} --run-name gaps --threads 1"
    monkeypatch.setattr("sys.argv", ["IVOS_main_DAVIS.py", *arguments.split()])
    assert IVOS_main_DAVIS.main() == 0
    table = (tmp_path / "r" / "davis" / "gaps" / "J_AND_F-wo_RS" / "summary_in_csv.csv").read_text()
    assert [line.split(",")[1] for line in table.splitlines()[1:]] == ["1", "7", "1", "7"]
