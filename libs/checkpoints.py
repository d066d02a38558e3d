"""Checkpoints: read strictly and safely, written atomically; the file says which network it is.

Two formats are read.

*Published*: a plain state dict of the 75.9 M network, as its authors put it on Google Drive; names may start with
`module.`.  The names are mapped onto ours by libs/published_names.py.

*Ours*, for both networks: `{'format': 'gis-checkpoint', 'version': 1, 'architecture': 'resnet50' | 'compact',
'config': {constructor arguments}, 'weights': {name: tensor}, 'meta': {anything plain}}`, weights in fp16 or fp32.

Nothing in a file is ever executed (`torch.load(weights_only=True)`).
"""

from __future__ import annotations

import argparse
import hashlib
import pickle
import sys
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dataset_torch.atomic import write_atomic
from dataset_torch.errors import UserError
from libs.published_names import our_name, published_name
from libs.scripts import exit_status
from networks.interface import GuidedNetwork

FORMAT, VERSION = "gis-checkpoint", 1
FOLDER = Path(__file__).resolve().parents[1] / "checkpoints"
NAMES_SHOWN = 5  # how many tensor names an error lists before it only counts


@dataclass(frozen=True)
class KnownCheckpoint:
    """A checkpoint that can be asked for by name."""

    file: str
    what: str
    remedy: str


def _published(file: str, what: str, drive_id: str) -> KnownCheckpoint:
    remedy = (
        f"It is on its authors' Google Drive: https://drive.google.com/uc?id={drive_id} (about 304 MB: 75,967,672 "
        f"numbers of 4 bytes). Download it and put it there under the name {file}, or give the path of the file."
    )
    return KnownCheckpoint(file, what, remedy)


KNOWN = {
    "compact": KnownCheckpoint(
        "gis-compact.pth",
        "our compact network",
        "It is part of the repository: `git checkout -- checkpoints/gis-compact.pth` brings it back; or train one.",
    ),
    "davis": _published("GIS-ckpt_standard.pth", "published, for DAVIS", "1dkgXJJ2gPYDtPE9yTtlP4Th0iNX5ZG6a"),
    "youtube": _published(
        "GIS-ckpt_wo_YTIVOStrainset.pth", "published, for YouTube-iVOS", "1m52fHwoYt2zupSmqgvDYUTqB24ApX0my"
    ),
}


@dataclass(frozen=True)
class Checkpoint:
    """What a file holds, with our names."""

    path: Path
    architecture: str
    config: dict[str, Any]
    weights: dict[str, Tensor]
    meta: dict[str, Any]
    published: bool  # a plain state dict under the published names

    @property
    def num_elements(self) -> int:
        """Numbers in all tensors, buffers included."""
        return sum(t.numel() for t in self.weights.values())


def _build_resnet50(config: Mapping[str, Any]) -> GuidedNetwork:
    from networks.network import GISNet

    return GISNet(**config)


def _build_compact(config: Mapping[str, Any]) -> GuidedNetwork:
    from networks.compact.config import CompactConfig
    from networks.compact.network import CompactGIS

    return CompactGIS(CompactConfig(**config))


# A network is imported when it is asked for: reading one kind of checkpoint does not need the other's code.
ARCHITECTURES: dict[str, Callable[[Mapping[str, Any]], GuidedNetwork]] = {
    "resnet50": _build_resnet50,
    "compact": _build_compact,
}


def resolve(name_or_path: str | Path, *, folder: Path = FOLDER) -> Path:
    """`compact`, `davis`, `youtube` or a path -> a file that exists; `UserError` with the way to get it if not."""
    known = KNOWN.get(str(name_or_path))
    if known is not None:
        path = folder / known.file
        if not path.is_file():
            raise UserError(f"checkpoint {str(name_or_path)!r} ({known.what}) is not at {path}. {known.remedy}")
        return path
    path = Path(name_or_path).expanduser()
    if path.is_dir():
        raise UserError(f"{path} is a folder, not a checkpoint file.")
    if not path.is_file():
        hint = next((f" {k.remedy}" for k in KNOWN.values() if k.file == path.name), "")
        raise UserError(f"there is no checkpoint {path}. Give a path, or one of: {', '.join(KNOWN)}.{hint}")
    return path


def load_network(name_or_path: str | Path, *, folder: Path = FOLDER) -> GuidedNetwork:
    """The network of a checkpoint: on the CPU, float32, in evaluation mode; `weights_id` is the file's SHA-256.

    Raises `UserError` if the file is missing, damaged, no checkpoint, holds code, or does not fit the network exactly
    (missing, surplus or wrong-shaped tensors are named), or has weights that are not finite.
    """
    path = resolve(name_or_path, folder=folder)
    network = network_from(read_checkpoint(path))
    network.weights_id = sha256(path)
    return network


def read_checkpoint(path: str | Path) -> Checkpoint:
    """What a checkpoint file holds, either format, names already ours; not yet compared with a network."""
    path = Path(path)
    content = _load(path)
    if not isinstance(content, Mapping):
        raise UserError(f"{path} is not a checkpoint: it holds a {type(content).__name__}, not named tensors.")
    if "format" in content or "architecture" in content:
        return _read_ours(path, content)
    if not content or not all(isinstance(k, str) and isinstance(v, Tensor) for k, v in content.items()):
        raise UserError(
            f"{path} is not a checkpoint of this project: neither a state dict (name -> tensor) nor our own format. "
            "If it is a training state, use the checkpoint that training wrote beside it."
        )
    names = [name.removeprefix("module.") for name in content]
    known = sum(our_name(name) is not None for name in names)
    if known == 0:
        raise UserError(
            f"{path} is a state dict of another network: none of its {len(names)} tensors "
            f"({_listing(names)}) belongs to the published GIS network."
        )
    weights = {our_name(name) or name: tensor for name, tensor in zip(names, content.values())}
    return Checkpoint(path, "resnet50", {}, weights, {}, published=True)


def network_from(checkpoint: Checkpoint) -> GuidedNetwork:
    """Build the network that a checkpoint names and fill it; see `load_network` for what is refused."""
    path = checkpoint.path
    build = ARCHITECTURES[checkpoint.architecture]
    try:
        with torch.device("meta"):  # names and shapes only: no time goes into weights that are thrown away
            network = build(checkpoint.config)
    except (TypeError, ValueError, AssertionError) as error:
        raise UserError(
            f"{path}: its configuration does not fit the network {checkpoint.architecture!r} of this version "
            f"({error}). It was written by another version of the project."
        ) from error
    _check_tensors(checkpoint, network.state_dict())
    weights = checkpoint.weights
    if len(weights) < sum(1 for _ in (*network.parameters(), *network.buffers())):
        network = build(checkpoint.config)  # it has tensors that are no weights and must be computed
    else:
        network.to_empty(device="cpu")
    network.load_state_dict(weights)
    return network.eval()


def save_checkpoint(
    path: str | Path, network: GuidedNetwork, meta: Mapping[str, Any] | None = None, *, half: bool = False
) -> Path:
    """Write a network in our format; an earlier file stays whole if this fails.

    `meta` plain values (numbers, strings, lists, dicts).  `half` stores floating-point weights in fp16 (half the size;
    relative error up to 5e-4); `ValueError` if a weight does not fit, or is not finite.
    """
    weights = {}
    for name, tensor in network.state_dict().items():
        tensor = tensor.detach().cpu()
        if tensor.is_floating_point():
            tensor = tensor.to(torch.float16 if half else torch.float32)
            if not torch.isfinite(tensor).all():
                raise ValueError(f"weight {name} is not finite{' in fp16' if half else ''}; nothing was written")
        weights[name] = tensor.contiguous().clone()
    content = {
        "format": FORMAT,
        "version": VERSION,
        "architecture": network.architecture,
        "config": network.plain_config(),
        "weights": weights,
        "meta": dict(meta or {}),
    }
    return write_atomic(path, lambda file: torch.save(content, file))


def sha256(path: str | Path) -> str:
    """SHA-256 of a file, as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def describe(path: str | Path) -> str:
    """A checkpoint in words, several lines; also says whether it fits the network."""
    checkpoint = read_checkpoint(path)
    network = network_from(checkpoint)
    dtypes = sorted({str(t.dtype).removeprefix("torch.") for t in checkpoint.weights.values()})
    lines = [
        f"file          {checkpoint.path} ({checkpoint.path.stat().st_size / 1e6:.1f} MB)",
        f"sha256        {sha256(path)}",
        f"format        {'published state dict' if checkpoint.published else f'{FORMAT} {VERSION}'}",
        f"architecture  {checkpoint.architecture}",
        f"config        {network.plain_config()}",
        f"parameters    {sum(p.numel() for p in network.parameters()):,}",
        f"tensors       {len(checkpoint.weights)} ({checkpoint.num_elements:,} numbers; {', '.join(dtypes)})",
    ]
    lines += [f"meta          {key}: {value}" for key, value in checkpoint.meta.items()]
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    """`python -m libs.checkpoints info FILE`."""
    parser = argparse.ArgumentParser(prog="python -m libs.checkpoints", description="Look into a checkpoint.")
    commands = parser.add_subparsers(dest="command", required=True)
    info = commands.add_parser("info", help="what a checkpoint holds, and whether it fits its network")
    info.add_argument("file", help=f"a path, or one of: {', '.join(KNOWN)}")
    arguments = parser.parse_args(argv)
    return exit_status(lambda: print(describe(resolve(arguments.file))))


def _load(path: Path) -> object:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}.") from error
    except Exception as error:  # a damaged file fails anywhere in the decoder, each time in another way
        raise UserError(_why_unreadable(path, error)) from error


def _why_unreadable(path: Path, error: Exception) -> str:
    """In words why PyTorch could not read the file, and the remedy."""
    if isinstance(error, pickle.UnpicklingError) and "weights_only" in str(error).lower():
        if "global" in str(error).lower():
            return (
                f"{path} holds more than tensors: loading it would run code ({_first_global(str(error))}). It is "
                "refused; get the checkpoint from its source again, or convert it to a plain state dict where you "
                "trust it."
            )
    with path.open("rb") as file:
        start = file.read(1024)
    if not start:
        return f"{path} is empty. Copy or download it again."
    if start.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"<"):
        return (
            f"{path} is a web page, not the checkpoint: Google Drive asks for confirmation before big files. Open the "
            "link in a browser, press 'Download anyway' and save that file here."
        )
    if start.startswith(b"PK\x03\x04") and not zipfile.is_zipfile(path):
        return (
            f"{path} is cut off ({path.stat().st_size / 1e6:.1f} MB are there): its end is missing. Copy or download "
            "it again."
        )
    if all(byte >= 32 or byte in b"\t\n\f\r" for byte in start):
        return f"{path} is a text file, not a checkpoint. Give the path of the .pth file."
    # Of a damaged archive PyTorch says which part is; the other errors are about the inside of its decoder.
    part = f" ({str(error).splitlines()[0][:120]})" if isinstance(error, RuntimeError) and str(error) else ""
    return f"{path} is not a checkpoint, or is damaged: PyTorch cannot read it{part}. Copy or download it again."


def _first_global(message: str) -> str:
    """The name that the unpickler refused, from its message."""
    words = message.replace("`", " ").split()
    return next((words[i + 1] for i, w in enumerate(words[:-1]) if w == "GLOBAL"), "a Python object")


def _read_ours(path: Path, content: Mapping[str, Any]) -> Checkpoint:
    if content.get("format") != FORMAT:
        raise UserError(f"{path}: unknown checkpoint format {content.get('format')!r}, expected {FORMAT!r}.")
    if content.get("version") != VERSION:
        raise UserError(
            f"{path}: checkpoint version {content.get('version')!r}; this version of the project reads {VERSION}."
        )
    architecture = content.get("architecture")
    if architecture not in ARCHITECTURES:
        raise UserError(f"{path}: network {architecture!r} is unknown; there are {', '.join(sorted(ARCHITECTURES))}.")
    weights, config, meta = content.get("weights"), content.get("config", {}), content.get("meta", {})
    if not isinstance(weights, Mapping) or not all(isinstance(t, Tensor) for t in weights.values()):
        raise UserError(f"{path}: a {FORMAT} without 'weights'; it is damaged.")
    if not isinstance(config, Mapping) or not isinstance(meta, Mapping):
        raise UserError(f"{path}: 'config' and 'meta' of a {FORMAT} must be dictionaries; it is damaged.")
    return Checkpoint(path, architecture, dict(config), dict(weights), dict(meta), published=False)


def _check_tensors(checkpoint: Checkpoint, expected: Mapping[str, Tensor]) -> None:
    """Raise `UserError` that names every kind of misfit between a checkpoint's tensors and a network's."""
    weights = checkpoint.weights
    shown = published_name if checkpoint.published else str
    missing = [shown(n) for n in expected if n not in weights]
    surplus = [n for n in weights if n not in expected]
    shapes = [
        f"{shown(n)} {tuple(weights[n].shape)} instead of {tuple(t.shape)}"
        for n, t in expected.items()
        if n in weights and weights[n].shape != t.shape
    ]
    kinds = {"missing": missing, "surplus": surplus, "of the wrong shape": shapes}
    faults = [f"{len(names)} {kind}: {_listing(names)}" for kind, names in kinds.items() if names]
    if faults:
        raise UserError(
            f"{checkpoint.path} does not fit the network {checkpoint.architecture!r} ({len(expected)} tensors): "
            + "; ".join(faults)
            + ". It is a checkpoint of another network or version."
        )
    infinite = [shown(n) for n, t in weights.items() if t.is_floating_point() and not torch.isfinite(t).all()]
    if infinite:
        raise UserError(
            f"{checkpoint.path} has weights that are not finite (NaN or infinity) in {len(infinite)} tensors: "
            f"{_listing(infinite)}. Its training diverged or the file is damaged."
        )


def _listing(names: list[str]) -> str:
    more = len(names) - NAMES_SHOWN
    return ", ".join(names[:NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")


if __name__ == "__main__":
    sys.exit(main())
