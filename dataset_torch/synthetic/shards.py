"""A store of rendered clips on disk: one file per clip, readable while it grows.

A clip file is a NumPy .npz with `frames` (T JPEG pictures) and `masks` (T PNG pictures) as one byte string each plus
their lengths, and `object_ids`; about 120 kB for 8 frames of 192 x 336.
"""

from __future__ import annotations

import io
import multiprocessing
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from dataset_torch.atomic import write_atomic
from dataset_torch.clip import Clip
from dataset_torch.errors import UserError
from dataset_torch.synthetic.material import Material, load_material
from dataset_torch.synthetic.recipe import DEFAULT_RECIPE, Recipe
from dataset_torch.synthetic.render import render_clip

_QUALITY = 90


def pack_clip(clip: Clip) -> bytes:
    """The clip as the bytes of a clip file; frames lose a little (JPEG quality 90), masks nothing."""
    frames = [
        cv2.imencode(".jpg", cv2.cvtColor(f, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1]
        for f in clip.frames
    ]
    masks = [cv2.imencode(".png", mask)[1] for mask in clip.masks]
    buffer = io.BytesIO()
    np.savez(
        buffer,
        frames=np.concatenate(frames),
        frame_lengths=np.array([len(f) for f in frames]),
        masks=np.concatenate(masks),
        mask_lengths=np.array([len(m) for m in masks]),
        object_ids=np.array(clip.object_ids, np.uint8),
    )
    return buffer.getvalue()


def unpack_clip(data: bytes, name: str = "") -> Clip:
    """The inverse of `pack_clip`.

    Raises:
        ValueError: the bytes are no clip file.
    """
    try:
        with np.load(io.BytesIO(data)) as file:
            frames = [
                cv2.cvtColor(cv2.imdecode(part, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
                for part in np.split(file["frames"], np.cumsum(file["frame_lengths"])[:-1])
            ]
            masks = [
                cv2.imdecode(part, cv2.IMREAD_GRAYSCALE)
                for part in np.split(file["masks"], np.cumsum(file["mask_lengths"])[:-1])
            ]
            ids = tuple(int(i) for i in file["object_ids"])
    except (KeyError, OSError, EOFError, ValueError, zipfile.BadZipFile, cv2.error) as error:
        raise ValueError(f"{name or 'the data'} is not a clip file: {error}") from error
    return Clip(np.stack(frames), np.stack(masks), ids, name)


class ClipShards:
    """The clips under a folder, by index in the order of their names; `refresh` notices new ones.

    Raises:
        UserError: no clip file there.
    """

    def __init__(self, folder: Path):
        self.folder = Path(folder)
        self.files: list[str] = []
        if self.refresh() == 0:
            raise UserError(
                f"{self.folder} holds no rendered clips (*.npz). Render some: "
                f"python -m dataset_torch.synthetic --material MATERIAL --out {self.folder} --count 1000"
            )

    def refresh(self) -> int:
        """Look for clips that were added since; returns how many there are.  Earlier ones keep their index."""
        known = set(self.files)
        new = sorted(p.name for p in self.folder.glob("*.npz") if p.name not in known)
        self.files += new
        return len(self.files)

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Clip:
        """Clip `index`; about 8 ms for 8 frames of 192 x 336."""
        name = self.files[index]
        return unpack_clip((self.folder / name).read_bytes(), name)


_worker: tuple[Path, Material, Recipe, int] | None = None


def render_many(
    out: Path,
    count: int,
    material: Material | Path | Sequence[Path],
    *,
    workers: int = 1,
    seed: int = 0,
    recipe: Recipe = DEFAULT_RECIPE,
) -> int:
    """Render clips 0 .. count - 1 of `seed` into `out`, leaving out those that are there; returns how many were made.

    Clip i depends on `seed` and i alone, so the work may be stopped, continued and shared out.  `workers` > 1 starts
    that many processes, which load the material themselves: then `material` must be its folder or folders.

    Raises:
        UserError: as `load_material`; `workers` > 1 without a folder.
    """
    out = Path(out)
    missing = [i for i in range(count) if not _clip_path(out, seed, i).is_file()]
    if workers > 1 and isinstance(material, Material):
        raise UserError("several workers each load the material: give its folder.")
    if workers <= 1:
        _start_worker(out, material, recipe, seed)
        return sum(_report(done, len(missing), _render_one(i)) for done, i in enumerate(missing, 1))
    context = multiprocessing.get_context("spawn")
    with context.Pool(workers, _start_worker, (out, material, recipe, seed)) as pool:
        return sum(_report(d, len(missing), n) for d, n in enumerate(pool.imap_unordered(_render_one, missing), 1))


def _clip_path(out: Path, seed: int, index: int) -> Path:
    return out / f"{seed:04d}-{index:06d}.npz"


def _start_worker(out: Path, material: Material | Path | Sequence[Path], recipe: Recipe, seed: int) -> None:
    global _worker
    cv2.setNumThreads(1)
    _worker = (out, material if isinstance(material, Material) else load_material(material), recipe, seed)


def _render_one(index: int) -> int:
    out, material, recipe, seed = _worker
    clip = render_clip((seed, index), material, recipe)
    write_atomic(_clip_path(out, seed, index), pack_clip(clip))
    return 1


def _report(done: int, total: int, made: int) -> int:
    if done % 100 == 0 or done == total:
        print(f"{done} of {total} clips", file=sys.stderr, flush=True)
    return made
