"""Imports: masks of every frame, from a zip of PNGs or from COCO JSON, as the exports write them."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from dataset_torch.errors import UserError
from dataset_torch.masks import decode_mask
from libs.app.coco import rle_decode
from libs.app.controller import Controller
from libs.app.exports import UNSEGMENTED, Tick, frame_names
from libs.interactions import MAX_OBJECT_ID

MAX_PNG = 64 << 20  # bytes of one picture, unpacked from the zip


def import_file(controller: Controller, path: Path, tick: Tick = lambda done, total: None) -> int:
    """Read the masks of a zip or a COCO JSON file into the session; returns of how many frames.

    `tick` is called before every mask and after the last; what it raises stops the import with nothing changed.
    """
    with path.open("rb") as file:
        head = file.read(4)
    if head == b"PK\x03\x04":
        return _import_zip(controller, path, tick)
    if head[:1] in (b"{", b" ", b"\n"):
        return _import_coco(controller, path.read_bytes(), tick)
    raise UserError(
        "that is neither a zip of PNG masks nor COCO JSON. For a single mask, use Import mask on its frame."
    )


def _import_zip(controller: Controller, path: Path, tick: Tick) -> int:
    try:
        with zipfile.ZipFile(path) as archive:
            return _import_archive(controller, archive, tick)
    except (zipfile.BadZipFile, NotImplementedError, EOFError) as error:
        raise UserError(f"the zip cannot be read ({error}). Pack it again.") from error


def _import_archive(controller: Controller, archive: zipfile.ZipFile, tick: Tick) -> int:
    inside = {info.filename: info for info in archive.infolist() if not info.is_dir()}
    coco = next((name for name in inside if PurePosixPath(name).name == "annotations.json"), None)
    pictures = [name for name in inside if name.lower().endswith(".png")]
    if coco is not None and not pictures:
        return _import_coco(controller, _read(archive, inside[coco]), tick)
    # In a zip of a whole data set the frames may be PNGs too.
    pictures = [name for name in pictures if "Annotations" in PurePosixPath(name).parts] or pictures
    index_of = {name: index for index, name in enumerate(frame_names(controller))}
    names = _object_names(_read(archive, inside["objects.json"])) if "objects.json" in inside else {}
    empty = _frame_list(_read(archive, inside[UNSEGMENTED])) if UNSEGMENTED in inside else set()
    found = sorted(name for name in pictures if PurePosixPath(name).stem in index_of)

    def masks() -> Iterator[tuple[int, np.ndarray]]:
        for done, name in enumerate(found):
            tick(done, len(found))
            frame = PurePosixPath(name).stem
            mask = decode_mask(_read(archive, inside[name]), name)
            if frame not in empty or mask.any():  # somebody may have painted on it meanwhile
                yield index_of[frame], mask
        tick(len(found), len(found))

    return controller.import_masks(masks(), names=names)


def _read(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    """An entry's bytes, if they are not more than a picture can have (the header may lie)."""
    try:
        with archive.open(info) as file:
            data = file.read(MAX_PNG + 1)
    except RuntimeError as error:  # encrypted
        raise UserError(f"{info.filename} in the zip cannot be read ({error}).") from error
    if len(data) > MAX_PNG:
        raise UserError(f"{info.filename} in the zip is larger than {MAX_PNG >> 20} MB.")
    return data


def _object_names(data: bytes) -> dict[int, str]:
    try:
        found = json.loads(data)
        return {int(key): str(value)[:80] for key, value in found.items()}
    except (ValueError, AttributeError, RecursionError):
        return {}  # names are a courtesy; the masks are what counts


def _frame_list(data: bytes) -> set[str]:
    try:
        return {str(name) for name in json.loads(data)}
    except (ValueError, TypeError, RecursionError):
        return set()


def _import_coco(controller: Controller, data: bytes, tick: Tick) -> int:
    try:
        content = json.loads(data)
        by_image: dict[int, list[dict[str, Any]]] = {}
        for annotation in content["annotations"]:
            by_image.setdefault(annotation["image_id"], []).append(annotation)
        images = [
            (image["id"], PurePosixPath(image["file_name"]).stem)
            for image in content["images"]
            if image.get("segmented") is not False or image["id"] in by_image
        ]
        categories = {c["id"]: str(c["name"]) for c in content["categories"]}
        names = {
            a["track_id"]: categories[a["category_id"]][:80]
            for annotations in by_image.values()
            for a in annotations
            if type(a.get("track_id")) is int and categories.get(a.get("category_id"))
        }
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f"that is no COCO JSON with images, annotations and categories ({error!r:.80}).") from error
    height, width = controller.frames.height, controller.frames.width
    index_of = {name: index for index, name in enumerate(frame_names(controller))}

    def masks() -> Iterator[tuple[int, np.ndarray]]:
        for done, (image_id, name) in enumerate(images):
            tick(done, len(images))
            if name not in index_of:
                continue
            mask = np.zeros((height, width), np.uint8)
            for annotation in by_image.get(image_id, []):
                track = annotation.get("track_id")
                if type(track) is not int or not 1 <= track <= MAX_OBJECT_ID:
                    raise UserError(f"an annotation has the track_id {str(track)[:40]}; ids are 1 to {MAX_OBJECT_ID}.")
                mask[rle_decode(annotation.get("segmentation"), height, width)] = track
            yield index_of[name], mask
        tick(len(images), len(images))

    return controller.import_masks(masks(), names=names)
