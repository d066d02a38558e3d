"""The shipped network's reading of strokes, alone: the view of whole objects and the decoder behind it.

Single pictures: a frame that is annotated needs no propagation to learn from, so a pass costs a few runs of the
interaction branch.  What the memory is told of an annotated frame (its object feature) does not pass the layers that
learn here, so the propagation reads strokes as before.

    python train.py --recipe compact_strokes --start-from CHECKPOINT --data images:PHOTOGRAPHS,MASKS --data clips:CLIPS
"""

from dataclasses import replace

from libs.training.recipe import Recipe, Stage

STAGE = Stage(
    share=0.6,
    length=(1, 1),
    rounds=(1.0,),
    max_objects=4,
    finished_mask=0.0,
    corruption=0.0,
    size=(224, 384),
    practice=1,
)

RECIPE = Recipe(
    name="compact_strokes",
    architecture="compact",
    precision="bfloat16",
    steps=900,
    clips_per_step=8,
    learning_rate=8e-4,
    warm_up_steps=40,
    smallest_crop=0.75,
    recolour=0.5,
    only=("interaction.extent.", "interaction.decoder."),
    average_decay=0.99,
    stages=(STAGE, replace(STAGE, share=0.4, size=(288, 512))),
)
