"""How often what happens in a synthetic clip.  Every number is a probability or a range that is drawn from."""

from __future__ import annotations

from dataclasses import dataclass


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
