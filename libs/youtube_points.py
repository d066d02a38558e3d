"""First-round points of YouTube-iVOS: the published files, or points of our own in the same format.

A file `point_info_<N>.json` maps a video to `{"fr": "00060.png", "points": [[rows, columns], ...]}`: the annotated
frame, and for every object, in the order of their ids, two lists of pixel indices in the video's original resolution
(spec: evaluation.md).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from dataset_torch.atomic import write_atomic
from dataset_torch.errors import UserError
from libs.interactions import Click, FrameAnnotation
from libs.reports.records import counted


class MaskedVideo(Protocol):
    """What points are made from; `dataset_torch.youtube.YouTubeVideo` is one."""

    name: str
    frame_names: tuple[str, ...]

    @property
    def object_ids(self) -> tuple[int, ...]: ...

    def mask(self, index: int) -> np.ndarray: ...


@dataclass(frozen=True)
class VideoPoints:
    """The first-round points of one video.

    `objects` has one int k x 2 array of pixels (row, column) per object, in the order of the object ids; k may be 0 for
    an object that cannot be seen on the frame.
    """

    frame_name: str  # without suffix, such as 00060
    objects: tuple[np.ndarray, ...]


def points_file(folder: str | Path, count: int) -> Path:
    """The file of a point count, named as the published ones: `point_info_05.json`."""
    return Path(folder) / f"point_info_{count:02d}.json"


def read_points(path: str | Path) -> dict[str, VideoPoints]:
    """All videos of a points file, in its order.  Raises `UserError` for a missing file or one of another form."""
    path = Path(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(
            f"points file {path} cannot be read: {error.strerror}. --youtube-points names the folder that holds "
            "point_info_05.json, point_info_10.json, ..; leave it out and points are made."
        ) from error
    except ValueError as error:
        raise UserError(f"points file {path} is not JSON ({error}). Take it from its source again.") from error
    if not isinstance(content, dict):
        raise UserError(f"points file {path} must map video names to points, and is a {type(content).__name__}.")
    return {str(name): _parse(f"{path}, video {name}", entry) for name, entry in content.items()}


def write_points(path: str | Path, points: Mapping[str, VideoPoints]) -> Path:
    """Write a points file in the published format, atomically."""
    content = {
        name: {"fr": f"{entry.frame_name}.png", "points": [pixels.T.tolist() for pixels in entry.objects]}
        for name, entry in points.items()
    }
    return write_atomic(path, json.dumps(content))


def digest(points: Mapping[str, VideoPoints], names: Sequence[str]) -> str:
    """SHA-256 of the points of these videos, in this order, as hexadecimal digits."""
    text = json.dumps([[n, points[n].frame_name, [o.tolist() for o in points[n].objects]] for n in names])
    return hashlib.sha256(text.encode()).hexdigest()


def make_points(video: MaskedVideo, count: int) -> VideoPoints:
    """`count` pixels inside every object, on the first frame where all objects are visible.

    The choice depends on nothing but the video's name and masks, and fewer points are the first of more.  An object of
    fewer pixels gives all that it has.  When no frame shows every object, it is the first of those that show most.
    """
    index = first_full_frame(video)
    mask = video.mask(index)
    # RandomState's stream is frozen by NumPy's promise of compatibility; that of a Generator may change.
    seed = int.from_bytes(hashlib.sha256(video.name.encode()).digest()[:4], "big")
    chance = np.random.RandomState(seed)
    objects = []
    for object_id in video.object_ids:
        inside = np.argwhere(mask == object_id)  # pixels x 2, (row, column)
        objects.append(inside[chance.permutation(len(inside))[:count]])
    return VideoPoints(video.frame_names[index], tuple(objects))


def first_full_frame(video: MaskedVideo) -> int:
    """The first frame where all objects are visible, or else the first of those where most are."""
    best, found = 0, -1
    for index in range(len(video.frame_names)):
        visible = len(np.intersect1d(video.mask(index), video.object_ids))
        if visible > found:
            best, found = index, visible
        if found == len(video.object_ids):
            break
    return best


def points_annotation(
    points: VideoPoints, *, frame: int, object_ids: Sequence[int], height: int, width: int, name: str
) -> FrameAnnotation:
    """The points as clicks on frame number `frame` of a video of `height` x `width` pixels.

    A click lies at the middle of its pixel, so that it comes out on the right one at any working size.  Raises
    `UserError` when the objects are more or fewer than the video's, or a point lies outside of the frame.
    """
    if len(points.objects) != len(object_ids):
        raise UserError(
            f"video {name}: the points are for {counted(len(points.objects), 'object')}, the data has "
            f"{len(object_ids)} ({', '.join(map(str, object_ids))}). "
            "The points belong to another release of the data set."
        )
    clicks = []
    for object_id, pixels in zip(object_ids, points.objects, strict=True):
        for row, column in pixels:
            if not (0 <= row < height and 0 <= column < width):
                raise UserError(
                    f"video {name}: a point of object {object_id} is at row {row}, column {column}, outside of the "
                    f"{width}x{height} frame. The points are for the original resolution of YouTube-VOS 2019; give "
                    "frames that were not resized."
                )
            clicks.append(Click(object_id, float((column + 0.5) / width), float((row + 0.5) / height)))
    return FrameAnnotation(frame, clicks=tuple(clicks))


def _parse(where: str, entry: object) -> VideoPoints:
    try:
        frame, objects = entry["fr"], entry["points"]
        pixels = []
        for rows, columns in objects:
            pair = np.array([rows, columns])
            if pair.size and not np.issubdtype(pair.dtype, np.integer):
                raise ValueError("rows and columns must be whole numbers")
            pixels.append(pair.astype(np.int64).reshape(2, -1).T)
        return VideoPoints(Path(str(frame)).stem, tuple(pixels))
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f'{where}: expected {{"fr": "00060.png", "points": [[rows, columns] of every object]}} ({error}).'
        ) from error
