"""The shipped compact network: synthetic clips, a CPU, an hour or more.

Short chains first (they give several times the steps per second), then longer ones, more objects and more rounds.
"""

from libs.training.recipe import Recipe, Stage

RECIPE = Recipe(
    name="compact",
    architecture="compact",
    precision="bfloat16",
    steps=3850,
    stages=(
        Stage(share=0.25, length=(2, 2), rounds=(0.5, 0.5), finished_mask=0.4),
        Stage(share=0.45, length=(3, 4), rounds=(0.35, 0.65), finished_mask=0.25, practice=1),
        Stage(
            share=0.30,
            length=(4, 5),
            rounds=(0.3, 0.5, 0.2),
            max_objects=3,
            finished_mask=0.15,
            size=(192, 320),
            practice=2,
        ),
    ),
)
