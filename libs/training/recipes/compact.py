"""The shipped compact network: synthetic clips, a CPU, an hour or more.

Short chains first (they give several times the steps per second), then longer ones, more objects and more rounds.
"""

from libs.training.recipe import Recipe, Stage

RECIPE = Recipe(
    name="compact",
    architecture="compact",
    precision="bfloat16",
    steps=1000,
    clips_per_step=4,
    learning_rate=8e-4,
    recolour=0.5,
    unfrozen=tuple(f"encoder.backbone.blocks.{i}." for i in range(5, 15)),
    stages=(
        # The annotated frame decides over all others, so strokes come first: short chains, much practice.
        Stage(share=0.30, length=(2, 3), rounds=(0.6, 0.4), max_objects=3, finished_mask=0.2, practice=2.5),
        Stage(
            share=0.40,
            length=(4, 5),
            rounds=(0.35, 0.45, 0.2),
            max_objects=4,
            finished_mask=0.2,
            size=(192, 320),
            practice=2,
        ),
        Stage(
            share=0.30,
            length=(5, 7),
            rounds=(0.4, 0.4, 0.2),
            max_objects=4,
            finished_mask=0.2,
            size=(224, 384),
            practice=2,
        ),
    ),
)
