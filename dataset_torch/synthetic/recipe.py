"""How often what happens in a synthetic clip.  Every number is a probability or a range that is drawn from."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from dataset_torch.errors import UserError


@dataclass(frozen=True)
class Recipe:
    """What `render_clip` draws from; the defaults are the training recipe.

    Ranges are (low, high); sizes are fractions of the frame's area, speeds fractions of the frame's width per frame.
    """

    steps: int = 8
    height: int = 192
    width: int = 336

    object_counts: tuple[float, ...] = (0.48, 0.28, 0.15, 0.09)  # chance of 1, 2, 3, 4 objects
    distractor_counts: tuple[float, ...] = (0.35, 0.3, 0.2, 0.15)  # chance of 0, 1, 2, 3 unlabelled things
    still_scene: float = 0.3  # a still with its own objects, moved as a whole or object by object
    still_whole: float = 0.35  # of those: the picture moves as one, nothing is painted over
    still_sprite: float = 0.45  # an object comes from a still (many are people) rather than from the cut-outs
    animated: float = 0.4  # an object is an animated actor, where the material has any
    puppet: float = 0.12  # an object is a jointed figure made of textured limbs
    merge_parts: float = 0.5  # a rider and the bicycle are one object
    look_alike: float = 0.3  # a distractor (or object) repeats another object's picture
    textured: float = 0.1  # an object keeps its outline but gets the texture of a photograph
    recoloured: float = 0.3
    recoloured_parts: float = 0.0  # a part of an object (not of an actor) is of another colour
    harmonised: float = 0.6  # colours shifted towards the background's

    area: tuple[float, float] = (0.02, 0.45)
    distractor_area: tuple[float, float] = (0.01, 0.2)
    big_scale_change: float = 0.3  # up to a factor of 4 over the clip
    speed: tuple[float, float] = (0.002, 0.25)
    camera_speed: tuple[float, float] = (0.001, 0.12)
    pursuit: float = 0.35  # the camera moves fast
    followed: float = 0.5  # the camera follows the first object
    leaves_and_returns: float = 0.12
    occluder: float = 0.3  # something passes in front of an object
    posts: float = 0.12  # several things stand in the foreground while the camera moves past them
    crowd: float = 0.15  # a row of onlookers in the background
    deformation: tuple[float, float] = (0.0, 0.09)  # of the object's size
    hinges: float = 0.5
    swing: float = 0.45  # legs and arms swing
    turning: float = 0.35  # the width changes as if the object turned
    spin: float = 0.2  # the surface slides round the outline as if the object turned

    parallax: float = 0.4
    background_defocus: float = 0.3
    object_defocus: float = 0.08
    shadow: float = 0.4
    light_change: float = 0.4
    shade_change: float = 0.5
    motion_blur: float = 0.6
    noise: float = 0.5
    jpeg: float = 0.7
    jpeg_quality: tuple[int, int] = (25, 92)
    smallest_object: int = 60  # pixels that must be visible in at least one frame


DEFAULT_RECIPE = Recipe()
SMALLEST_SIDE, LARGEST_SIDE = 16, 8192  # pixels of a frame
_BY_FACTOR = ("area", "distractor_area", "speed", "camera_speed")  # every factor is equally likely: 0 has none


def check_recipe(recipe: Recipe) -> None:
    """Raise `UserError` for a recipe that nothing can be rendered by."""
    if recipe.steps < 1:
        raise UserError(f"a clip has 1 frame or more, not {recipe.steps}.")
    if not all(SMALLEST_SIDE <= side <= LARGEST_SIDE for side in (recipe.height, recipe.width)):
        raise UserError(
            f"frames of {recipe.height} x {recipe.width} pixels cannot be rendered: each side is {SMALLEST_SIDE} to "
            f"{LARGEST_SIDE} pixels."
        )
    for name in _BY_FACTOR:
        if not getattr(recipe, name)[0] > 0:
            raise UserError(f"{name} begins at {getattr(recipe, name)[0]:g}, and must be above 0, such as 0.0001.")
    if recipe.jpeg_quality[1] > 100:
        raise UserError(f"jpeg_quality ends at {recipe.jpeg_quality[1]}: it is 100 at most.")


def changed_recipe(recipe: Recipe, pairs: Sequence[str]) -> Recipe:
    """`recipe` with `NAME=VALUE` or `NAME=VALUE,VALUE...` (of a range or of chances) in place.

    Raises:
        UserError: there is no such setting; a value is no number of its kind, or negative; a range does not have two
            ends in order; chances do not add up to 1.
    """
    kinds = {field.name: str(field.type) for field in dataclasses.fields(Recipe)}
    changes: dict[str, object] = {}
    for pair in pairs:
        name, _, text = pair.partition("=")
        if name not in kinds:
            raise UserError(f"--set {pair}: write NAME=VALUE; the names are {', '.join(kinds)}.")
        kind = kinds[name]
        try:
            values = tuple((int if "int" in kind else float)(part) for part in text.split(","))
        except ValueError:
            values = ()
        if not values or not all(0 <= value < float("inf") for value in values):
            raise UserError(
                f"--set {pair}: {name} takes numbers that are not negative, such as {name}={in_words(name)}."
            )
        if "..." in kind:
            fits = abs(sum(values) - 1) < 1e-6
            wanted = "chances that add up to 1"
        elif "tuple" in kind:
            fits = len(values) == 2 and values[0] <= values[1]
            wanted = "LOW,HIGH"
        else:
            whole = kind == "int"
            fits = len(values) == 1 and (whole or values[0] <= 1)
            wanted = "one whole number" if whole else "a chance between 0 and 1"
        if not fits:
            raise UserError(f"--set {pair}: {name} takes {wanted}, such as {name}={in_words(name)}.")
        changes[name] = values if "tuple" in kind else values[0]
    return dataclasses.replace(recipe, **changes)


def in_words(name: str) -> str:
    """The default of a setting, as it is written on the command line."""
    value = getattr(DEFAULT_RECIPE, name)
    return ",".join(f"{v:g}" for v in value) if isinstance(value, tuple) else f"{value:g}"
