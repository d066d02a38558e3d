"""Synthetic clips: cut-outs that move over photographs, with exact masks.

material = load_material(Path("material"))
clip = render_clip(7, material)              # the same clip for the same seed, everywhere
render_many(Path("clips"), 1000, material)   # a store on disk; `ClipShards(Path("clips"))` reads it
"""

from dataset_torch.synthetic.material import Material, load_material
from dataset_torch.synthetic.recipe import Recipe
from dataset_torch.synthetic.render import render_clip
from dataset_torch.synthetic.shards import ClipShards, render_many

__all__ = ["ClipShards", "Material", "Recipe", "load_material", "render_clip", "render_many"]
