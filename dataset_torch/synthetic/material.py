"""The photographs, cut-outs and actors that clips are made of.

Expected folders (any of them may be missing, but there must be something to cut out and something to put it on):

    cutouts/*.png                     photographs of one thing with an alpha channel
    actors/<name>/<NN>.png            animated things: 2 or more RGBA pictures of one size, about 12 per second
    backgrounds/*.jpg                 photographs
    stills/JPEGImages/<name>/*.jpg    photographs whose objects are known ...
    stills/Annotations/<name>/*.png   ... by palette masks of the same size

Pixels are read when a clip needs them, and what was used last is kept in memory (`cache.LIMIT`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dataset_torch.errors import UserError
from dataset_torch.frames import is_picture
from dataset_torch.synthetic.animation import AnimatedSprite, open_animation
from dataset_torch.synthetic.cache import PictureCache
from dataset_torch.synthetic.pictures import (
    LARGEST_PHOTO,
    LARGEST_SPRITE,
    Photo,
    Sprite,
    image_pyramid,
    load_cutout,
    make_sprite,
    shrink,
)
from dataset_torch.synthetic.stored import SMALLEST_SPRITE, open_background, open_cutout, open_still

__all__ = [
    "LARGEST_PHOTO",
    "LARGEST_SPRITE",
    "Material",
    "Photo",
    "Sprite",
    "image_pyramid",
    "load_cutout",
    "load_material",
    "make_sprite",
    "shrink",
]

# Still life and drawings are plentiful among free cut-outs and rare in video: they are drawn less often.
_RARE = {
    "space": 0.25,
    "plants": 0.4,
    "food": 0.4,
    "seasonal": 0.3,
    "medical": 0.5,
    "household": 0.7,
    "hobbies": 0.7,
    "clipart": 0.25,
    "emoji": 0.25,
}


@dataclass
class Material:
    """Everything `render_clip` draws from; each list is sorted by name, folder after folder."""

    cutouts: list[Sprite]
    backgrounds: list[Photo]
    stills: list[Photo]
    actors: list[AnimatedSprite] = field(default_factory=list)

    @property
    def photos(self) -> list[Photo]:
        """Backgrounds and stills together."""
        return self.backgrounds + self.stills


def load_material(folders: Path | Sequence[Path]) -> Material:
    """Open all material under one folder or several (layout: see the module's docstring).

    Costs about 5 ms per still and less for everything else.

    Raises:
        UserError: nothing usable there, an unreadable file, an actor whose pictures do not fit together, or a still
            without a mask of its size.
    """
    folders = [Path(folders)] if isinstance(folders, (str, Path)) else [Path(folder) for folder in folders]
    cache = PictureCache()
    material = Material([], [], [])
    for folder in folders:
        stills = folder / "stills"
        material.cutouts += [open_cutout(p, cache, weight=_weight(p.stem)) for p in _images(folder / "cutouts")]
        material.backgrounds += [open_background(path, cache) for path in _images(folder / "backgrounds")]
        material.stills += [open_still(p, stills, cache) for p in _images(stills / "JPEGImages", nested=True)]
        actors = sorted(path for path in (folder / "actors").glob("[!.]*") if path.is_dir())
        material.actors += [open_animation(path, cache, weight=_weight(path.name)) for path in actors]
    things = material.cutouts or material.actors or [sprite for still in material.stills for sprite in still.sprites]
    if not things or not material.photos:
        raise UserError(
            f"{', '.join(map(str, folders))} holds {len(material.cutouts)} cut-outs, {len(material.backgrounds)} "
            f"backgrounds and {len(material.stills)} stills: at least one thing to cut out and one photograph are "
            f"needed, in the folders cutouts (or actors), backgrounds, stills (objects of {SMALLEST_SPRITE} pixels)."
        )
    return material


def _weight(name: str) -> float:
    """How often a thing is drawn, by the kind its name begins with: `kind__name`."""
    return _RARE.get(name.split("__")[0], 1.0)


def _images(folder: Path, *, nested: bool = False) -> list[Path]:
    pattern = "*/*" if nested else "*"
    return sorted(p for p in folder.glob(pattern) if is_picture(p))
