"""The shipped compact network: synthetic clips, a CPU, an hour or more.

Short chains first (they give several times the steps per second), then longer ones, more objects and more rounds.
"""

from libs.training.recipe import Recipe, Stage

RECIPE = Recipe(
    name="compact",
    architecture="compact",
    precision="bfloat16",
    steps=3850,
    clips_per_step=4,
    learning_rate=1e-3,
    unfrozen=tuple(f"encoder.backbone.blocks.{i}." for i in range(5, 15)),
    stages=(
        Stage(share=0.05, length=(2, 2), rounds=(0.5, 0.5), finished_mask=0.4, practice=1),
        Stage(share=0.50, length=(3, 4), rounds=(0.35, 0.65), max_objects=3, finished_mask=0.25, practice=1.5),
        Stage(
            share=0.35,
            length=(4, 5),
            rounds=(0.3, 0.45, 0.25),
            max_objects=4,
            finished_mask=0.2,
            size=(192, 320),
            practice=2,
        ),
        Stage(
            share=0.10,
            length=(4, 5),
            rounds=(0.3, 0.45, 0.25),
            max_objects=4,
            finished_mask=0.2,
            size=(224, 384),
            practice=2,
        ),
    ),
)
