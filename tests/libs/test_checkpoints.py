"""Loading and saving checkpoints: what is read, and how every bad file is refused."""

from __future__ import annotations

import dataclasses
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dataset_torch.errors import UserError
from libs import checkpoints
from libs.checkpoints import load_network, main, read_checkpoint, resolve, save_checkpoint, sha256
from libs.published_names import layer_names, our_name, published_name
from networks.compact.network import CompactGIS
from networks.interface import GuidedNetwork
from tests import golden


@dataclasses.dataclass(frozen=True)
class TinyConfig:
    width: int = 3


class TinyNetwork(GuidedNetwork):
    """The smallest thing that can be saved; one tensor is a buffer that is no weight."""

    architecture = "tiny"
    encode_frame = interact = memorise = propagate = None

    def __init__(self, config: TinyConfig) -> None:
        super().__init__()
        if config.width < 1:
            raise ValueError("width must be positive")
        self.config = config
        self.layer = nn.Linear(config.width, 2)
        self.norm = nn.BatchNorm1d(2)
        self.register_buffer("ramp", torch.arange(4), persistent=False)


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> TinyNetwork:
    monkeypatch.setitem(checkpoints.ARCHITECTURES, "tiny", lambda config: TinyNetwork(TinyConfig(**config)))
    return TinyNetwork(TinyConfig(width=5))


@pytest.fixture
def saved(tiny: TinyNetwork, tmp_path: Path) -> Path:
    return save_checkpoint(tmp_path / "tiny.pth", tiny, {"epoch": 3})


def changed(path: Path, **changes: object) -> Path:
    content = torch.load(path, weights_only=True)
    content.update(changes)
    torch.save(content, path)
    return path


def published_shapes() -> dict[str, Tensor]:
    """The published network's tensors without their size: every element is the same zero (a file of 0.3 MB)."""
    return {n: torch.zeros((), dtype=getattr(torch, d)).expand(s) for n, s, d in golden.manifest()["state_dict"]}


def refused(path: Path, *words: str) -> None:
    with pytest.raises(UserError) as caught:
        load_network(path)
    for word in (str(path), *words):
        assert word in str(caught.value)


# ---- our own format --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("half", [False, True])
def test_round_trip(tiny: TinyNetwork, tmp_path: Path, half: bool) -> None:
    path = save_checkpoint(tmp_path / "new" / "tiny.pth", tiny, {"epoch": 3, "data": ["a", "b"]}, half=half)
    network = load_network(path)
    assert isinstance(network, TinyNetwork) and network.config == TinyConfig(width=5)
    assert not network.training
    assert network.ramp.tolist() == [0, 1, 2, 3]
    for name, tensor in tiny.state_dict().items():
        loaded = network.state_dict()[name]
        assert loaded.dtype == tensor.dtype
        expected = tensor.half().float() if half and tensor.is_floating_point() else tensor
        assert torch.equal(loaded, expected)
    assert read_checkpoint(path).meta == {"epoch": 3, "data": ["a", "b"]}
    assert network.layer.weight.requires_grad


def test_compact_network_round_trip(tmp_path: Path) -> None:
    network = CompactGIS()
    loaded = load_network(save_checkpoint(tmp_path / "compact.pth", network, half=True))
    assert isinstance(loaded, CompactGIS) and loaded.config == network.config
    for name, tensor in network.state_dict().items():
        torch.testing.assert_close(loaded.state_dict()[name], tensor, rtol=1e-3, atol=1e-6)
        assert loaded.state_dict()[name].stride() == tensor.stride()  # channels-last, as it was built


def test_saving_refuses_what_fp16_cannot_hold(tiny: TinyNetwork, tmp_path: Path) -> None:
    with torch.no_grad():
        tiny.layer.weight[0, 0] = 1e6
    path = save_checkpoint(tmp_path / "tiny.pth", tiny)
    before = path.read_bytes()
    with pytest.raises(ValueError, match=r"layer\.weight is not finite in fp16"):
        save_checkpoint(path, tiny, half=True)
    assert path.read_bytes() == before


def test_failed_write_leaves_the_old_file(tiny: TinyNetwork, saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = saved.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match="No space left"):
        save_checkpoint(saved, tiny)
    assert saved.read_bytes() == before
    assert [p.name for p in saved.parent.iterdir()] == [saved.name]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"format": "other"}, ["unknown checkpoint format", "'other'"]),
        ({"version": 99}, ["version 99"]),
        ({"architecture": "vgg"}, ["'vgg' is unknown", "resnet50", "compact"]),
        ({"weights": [1, 2]}, ["without 'weights'"]),
        ({"meta": 3}, ["'config' and 'meta'"]),
        ({"config": {"depth": 3}}, ["configuration does not fit", "depth"]),
        ({"config": {"width": 0}}, ["configuration does not fit", "width must be positive"]),
        ({"config": {"width": 4}}, ["1 of the wrong shape", "layer.weight (2, 5) instead of (2, 4)"]),
    ],
)
def test_damaged_fields(saved: Path, changes: dict[str, object], words: list[str]) -> None:
    refused(changed(saved, **changes), *words)


def test_weights_that_are_not_finite(saved: Path) -> None:
    weights = torch.load(saved, weights_only=True)["weights"]
    weights["layer.bias"][1] = float("nan")
    refused(changed(saved, weights=weights), "not finite", "1 tensors: layer.bias")


# ---- the published format --------------------------------------------------------------------------------------------


def test_names_map_one_to_one() -> None:
    names = [n for n, _, _ in golden.manifest()["state_dict"]]
    ours = [our_name(n) for n in names]
    assert None not in ours and len(set(ours)) == len(names) == 841
    assert [published_name(n) for n in ours if n] == names
    assert {n.rpartition(".")[0] for n in names} == set(layer_names())
    assert our_name("fc.weight") is None


def test_prefix_of_parallel_training(tmp_path: Path) -> None:
    path = tmp_path / "parallel.pth"
    torch.save({f"module.{n}": t for n, t in published_shapes().items()}, path)
    network = load_network(path)
    assert network.architecture == "resnet50"
    assert sum(p.numel() for p in network.parameters()) == 75_876_291


def test_misfits_are_named_with_the_published_names(tmp_path: Path) -> None:
    tensors = published_shapes()
    for name in [n for n in tensors if n.startswith("converter.")][:7]:
        del tensors[name]
    tensors["segmentation_head.conv5.weight"] = torch.zeros(3, 64, 1, 1)
    tensors["fc.bias"] = torch.zeros(2)
    path = tmp_path / "misfit.pth"
    torch.save(tensors, path)
    refused(
        path,
        "7 missing: ",
        "converter.block1.conv1.weight",
        "and 2 more",
        "1 surplus: fc.bias",
        "1 of the wrong shape: segmentation_head.conv5.weight (3, 64, 1, 1) instead of (2, 64, 1, 1)",
    )


def test_infinite_weight_in_a_published_checkpoint(tmp_path: Path) -> None:
    tensors = published_shapes()
    tensors["diff_module.conv2_diffu.bias"] = torch.full((128,), float("inf"))
    torch.save(tensors, tmp_path / "infinite.pth")
    refused(tmp_path / "infinite.pth", "not finite", "diff_module.conv2_diffu.bias")


def test_state_dict_of_another_network(tmp_path: Path) -> None:
    torch.save(nn.Linear(2, 2).state_dict(), tmp_path / "linear.pth")
    refused(tmp_path / "linear.pth", "another network", "weight, bias")


# ---- files that are no checkpoints -----------------------------------------------------------------------------------


class Code:
    """Pickles as a call of `print`: loading it the old way would run it."""

    def __reduce__(self) -> tuple[object, ...]:
        return (print, ("code ran",))


def test_code_in_a_pickle_is_refused_and_not_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"weights": Code()}, tmp_path / "code.pth")
    refused(tmp_path / "code.pth", "would run code", "print")
    assert "code ran" not in capsys.readouterr().out


def test_a_whole_pickled_network_is_refused(tmp_path: Path) -> None:
    torch.save(nn.Linear(2, 2), tmp_path / "network.pth")
    refused(tmp_path / "network.pth", "would run code", "Linear")


@pytest.mark.parametrize("keep", [0.3, 0.9, 0.999])
def test_truncated_file(saved: Path, keep: float) -> None:
    content = saved.read_bytes()
    saved.write_bytes(content[: int(len(content) * keep)])
    refused(saved, "cut off", "download it again")


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"", "is empty"),
        (b"<!DOCTYPE html><html>Google Drive can't scan this file", "is a web page, not the checkpoint"),
        (b"\xef\xbb\xbf\n <html>quota exceeded</html>", "is a web page, not the checkpoint"),
        ("0.81 J&F, Größe 3\n".encode(), "is a text file, not a checkpoint"),
        (bytes(range(256)), "not a checkpoint"),
    ],
)
def test_other_files(tmp_path: Path, content: bytes, word: str) -> None:
    (tmp_path / "x.pth").write_bytes(content)
    refused(tmp_path / "x.pth", word)


def test_a_zip_that_is_no_checkpoint(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.pth", "w") as file:
        file.writestr("readme.txt", "hello")
    refused(tmp_path / "x.pth", "not a checkpoint")


@pytest.mark.parametrize("content", [torch.zeros(3), [1, 2], {}, {"state": {"a": torch.zeros(2)}}, {1: torch.zeros(2)}])
def test_other_contents(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "x.pth")
    refused(tmp_path / "x.pth", "not a checkpoint")


def test_folder_and_unreadable(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is a folder"):
        load_network(tmp_path)
    with pytest.raises(UserError, match="there is no checkpoint .*compact, davis, youtube"):
        load_network(tmp_path / "missing.pth")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("compact", ["gis-compact.pth", "git checkout"]),
        ("davis", ["GIS-ckpt_standard.pth", "1dkgXJJ2gPYDtPE9yTtlP4Th0iNX5ZG6a", "304 MB"]),
        ("youtube", ["GIS-ckpt_wo_YTIVOStrainset.pth", "1m52fHwoYt2zupSmqgvDYUTqB24ApX0my", "304 MB"]),
    ],
)
def test_missing_known_checkpoint_says_where_it_comes_from(tmp_path: Path, name: str, words: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        resolve(name, folder=tmp_path)
    for word in [*words, str(tmp_path)]:
        assert word in str(caught.value)
    file = tmp_path / checkpoints.KNOWN[name].file
    file.write_bytes(b"x")
    assert resolve(name, folder=tmp_path) == file


def test_stated_size_is_that_of_the_published_tensors() -> None:
    elements = sum(int(np.prod(s)) for _, s, _ in golden.manifest()["state_dict"])
    assert elements == golden.manifest()["n_state_elements"] == 75_967_672
    assert round(elements * 4 / 1e6) == 304


# ---- looking into a file ---------------------------------------------------------------------------------------------


def test_sha256(tmp_path: Path, saved: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")  # the standard's own example
    assert load_network(saved).weights_id == sha256(saved)
    assert sha256(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_info(saved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(saved)]) == 0
    out = capsys.readouterr().out
    # Linear 5 -> 2: 12; normalisation: 4 parameters, 5 more numbers in buffers.
    for text in (
        "tiny",
        "{'width': 5}",
        "parameters    16",
        "7 (21 numbers; float32, int64)",
        "epoch: 3",
        sha256(saved),
    ):
        assert text in out


def test_info_of_a_bad_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.pth").write_bytes(b"text")
    assert main(["info", str(tmp_path / "x.pth")]) == 2
    assert "not a checkpoint" in capsys.readouterr().err
