"""The shipped network's judgement of its own masks: long clips, and nothing but the quality head learns.

The other recipe's chains are short, so the head there sees few of the errors that gather over a video.  Here the rest
of the network stands still, a pass costs a forward pass, and chains are as long as the clips are:

    python train.py --recipe compact_quality --start-from CHECKPOINT --data clips:CLIPS --validation clips:OTHERS
"""

from libs.training.recipe import LossWeights, Recipe, Stage

RECIPE = Recipe(
    name="compact_quality",
    architecture="compact",
    precision="bfloat16",
    steps=300,
    clips_per_step=4,
    only=("propagation.quality.",),
    average_decay=0.98,
    loss=LossWeights(correctness=1.0, quality=0.5, ranking=1.0),
    stages=(
        Stage(
            share=1.0,
            length=(7, 8),
            rounds=(0.4, 0.3, 0.3),
            max_objects=3,
            finished_mask=0.1,
            corruption=0.0,
            size=(192, 320),
        ),
    ),
)
