"""Exports: what is segmented, in the formats that other tools read."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from dataset_torch.errors import UserError
from dataset_torch.frames import ImageFolder
from dataset_torch.masks import DAVIS_PALETTE, encode_mask, overlay
from libs.app.coco import coco_annotation
from libs.app.controller import Controller
from libs.app.sinks import FolderSink, ZipSink

Sink = FolderSink | ZipSink
Tick = Callable[[int, int], None]  # frames done, frames in all; may raise to stop


UNSEGMENTED = "unsegmented.json"  # in a zip of masks: names of the frames whose mask is empty because there is none


@dataclass(frozen=True)
class ExportOptions:
    """How things look in an export."""

    colours: dict[int, tuple[int, int, int]] = field(default_factory=dict)  # by object id; missing: DAVIS palette
    alpha: float = 0.5
    contours: bool = True


def frame_names(controller: Controller) -> list[str]:
    """The frames' names without suffix: those of the files, or five digits."""
    frames = controller.frames
    if isinstance(frames, ImageFolder):
        return [path.stem for path in frames.files]
    return [f"{index:05d}" for index in range(len(frames))]


def is_segmented(controller: Controller, frame: int) -> bool:
    """Whether there is a mask of this frame, be it an empty one."""
    return frame in controller.session.state.predictions


def export_masks(controller: Controller, sink: Sink, options: ExportOptions, tick: Tick) -> None:
    """Palette PNGs in DAVIS layout, `Annotations/480p/<video>/<frame>.png`, and the objects' names.

    A frame that was not segmented has an empty mask, as the layout wants one of every frame; `unsegmented.json` names
    those frames, if there are any, so that importing the masks does not take them for segmented.
    """
    names = frame_names(controller)
    folder = f"Annotations/480p/{controller.frames.name}"
    for index, name in enumerate(names):
        sink.write(f"{folder}/{name}.png", encode_mask(controller.mask(index), DAVIS_PALETTE))
        tick(index + 1, len(names))
    sink.write("objects.json", json.dumps({str(e.id): e.name for e in controller.objects.entries}, indent=1))
    missing = [name for index, name in enumerate(names) if not is_segmented(controller, index)]
    if missing:
        sink.write(UNSEGMENTED, json.dumps(missing, indent=1))


def export_overlay(controller: Controller, sink: Sink, options: ExportOptions, tick: Tick) -> None:
    """`<video>.mp4`: the frames with the visible objects coloured; an odd last row or column is cut (MPEG-4)."""
    frames = controller.frames
    palette = DAVIS_PALETTE.copy()
    for object_id, colour in options.colours.items():
        palette[object_id] = colour
    shown = [e.id for e in controller.objects.entries if not e.hidden]
    height, width = frames.height // 2 * 2, frames.width // 2 * 2
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "overlay.mp4"
        code = cv2.VideoWriter_fourcc(*"mp4v")
        writer = cv2.VideoWriter(str(path), code, frames.frames_per_second, (width, height))
        if not writer.isOpened():
            raise UserError("this build of OpenCV cannot write MP4 files. Reinstall opencv-python-headless.")
        try:
            for index in range(len(frames)):
                mask = controller.mask(index)
                mask = np.where(np.isin(mask, shown), mask, np.uint8(0))
                image = overlay(
                    frames.read(index), mask, alpha=options.alpha, contours=options.contours, palette=palette
                )
                writer.write(np.ascontiguousarray(image[:height, :width, ::-1]))
                tick(index + 1, len(frames))
        finally:
            writer.release()
        sink.add(f"{frames.name}.mp4", path)


def export_soft(controller: Controller, sink: Sink, options: ExportOptions, tick: Tick) -> None:
    """Soft masks: `<id>-<name>/<frame>.png`, 8-bit grey, 255 = certainly this object."""
    names = frame_names(controller)
    for index, name in enumerate(names):
        probabilities = controller.probabilities(index)
        for channel, object_id in enumerate(controller.session.object_ids, 1):
            grey = (probabilities[channel] * 255 + 0.5).astype(np.uint8)
            sink.write(f"{_folder_of(controller, object_id)}/{name}.png", _png(grey))
        tick(index + 1, len(names))


def export_cutouts(controller: Controller, sink: Sink, options: ExportOptions, tick: Tick) -> None:
    """RGBA cut-outs: `<id>-<name>/<frame>.png`, the frame with the object's probability as opacity."""
    names = frame_names(controller)
    for index, name in enumerate(names):
        image, probabilities = controller.frames.read(index), controller.probabilities(index)
        for channel, object_id in enumerate(controller.session.object_ids, 1):
            grey = (probabilities[channel] * 255 + 0.5).astype(np.uint8)
            cutout = np.dstack([image[..., ::-1], grey])  # OpenCV writes BGRA
            sink.write(f"{_folder_of(controller, object_id)}/{name}.png", _png(cutout))
        tick(index + 1, len(names))


def export_coco(controller: Controller, sink: Sink, options: ExportOptions, tick: Tick) -> None:
    """`annotations.json`: COCO with compressed run lengths; `track_id` is the object's id in every frame."""
    frames, names = controller.frames, frame_names(controller)
    categories = {name: i for i, name in enumerate(dict.fromkeys(e.name for e in controller.objects.entries), 1)}
    suffix = frames.files[0].suffix if isinstance(frames, ImageFolder) else ".jpg"
    images, annotations = [], []
    for index, name in enumerate(names):
        size = {"width": frames.width, "height": frames.height}
        image = {"id": index + 1, "file_name": name + suffix, "video_id": 1, "frame_id": index, **size}
        images.append(image if is_segmented(controller, index) else {**image, "segmented": False})
        mask = controller.mask(index)
        for entry in controller.objects.entries:
            inside = mask == entry.id
            if inside.any():
                ids = {"id": len(annotations) + 1, "image_id": index + 1, "video_id": 1, "track_id": entry.id}
                annotations.append(coco_annotation(inside, **ids, category_id=categories[entry.name]))
        tick(index + 1, len(names))
    content = {
        "info": {"description": f"{frames.name}, segmented with GIS"},
        "licenses": [],
        "videos": [{"id": 1, "name": frames.name}],
        "images": images,
        "annotations": annotations,
        "categories": [{"id": i, "name": name, "supercategory": "object"} for name, i in categories.items()],
    }
    sink.write("annotations.json", json.dumps(content))


def export_yolo(controller: Controller, sink: Sink, options: ExportOptions, tick: Tick) -> None:
    """YOLO segmentation: `labels/<frame>.txt`, a line `class x y x y ...` per connected part, and `data.yaml`.

    The format has no holes: they are filled.  Classes are the objects in their order, from 0.
    """
    frames, names = controller.frames, frame_names(controller)
    for index, name in enumerate(names):
        mask = controller.mask(index)
        lines = []
        for number, entry in enumerate(controller.objects.entries):
            inside = (mask == entry.id).astype(np.uint8)
            contours, _ = cv2.findContours(inside, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
            for contour in contours:
                if len(contour) >= 3:  # fewer points are no polygon
                    points = (contour[:, 0] + 0.5) / (frames.width, frames.height)  # pixel centres
                    lines.append(f"{number} " + " ".join(f"{v:.6f}" for v in points.ravel()))
        sink.write(f"labels/{name}.txt", "".join(line + "\n" for line in lines))
        tick(index + 1, len(names))
    listed = "".join(f"  {i}: {json.dumps(e.name)}\n" for i, e in enumerate(controller.objects.entries))
    sink.write("data.yaml", f"path: .\ntrain: images\nval: images\nnames:\n{listed}")


EXPORTS: dict[str, Callable[[Controller, Sink, ExportOptions, Tick], None]] = {
    "masks": export_masks,
    "overlay": export_overlay,
    "soft": export_soft,
    "cutouts": export_cutouts,
    "coco": export_coco,
    "yolo": export_yolo,
}


def _folder_of(controller: Controller, object_id: int) -> str:
    """A folder name that every file system takes."""
    name = controller.objects.get(object_id).name
    return f"{object_id}-" + "".join(c if c.isalnum() or c in "-_ " else "_" for c in name).strip()


def _png(array: np.ndarray) -> bytes:
    good, data = cv2.imencode(".png", array, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    if not good:
        raise RuntimeError("OpenCV could not encode a PNG")
    return data.tobytes()
