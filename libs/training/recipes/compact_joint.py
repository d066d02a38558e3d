"""The reading of strokes and the propagation of a trained compact network together, on long chains.

A better first mask changes what the propagation is given, and what it returns is what corrections begin from: trained
apart, the two win little over rounds.  Chains are those of `compact_chains`; a frame beside each pass is annotated for
practice.  What the memory is told of an annotated frame stays:

    python train.py --recipe compact_joint --start CHECKPOINT --data clips:LONG --data images:PHOTOGRAPHS,MASKS
"""

from libs.training.recipe import LossWeights, Recipe, Stage

RECIPE = Recipe(
    name="compact_joint",
    architecture="compact",
    precision="bfloat16",
    steps=230,
    clips_per_step=4,
    learning_rate=4e-4,
    warm_up_steps=20,
    recolour=0.5,
    smallest_crop=0.75,
    loss=LossWeights(border=1.0, transferred=0.3, ranking=0.1),
    only=(
        "interaction.extent.",
        "interaction.decoder.",
        "propagation.",
        "memoriser.",
        "encoder.query.",
        "encoder.detail.",
        "encoder.fine_key.",
    ),
    average_decay=0.98,
    stages=(
        Stage(
            share=1.0,
            length=(4, 10),
            rounds=(0.35, 0.4, 0.25),
            max_objects=4,
            finished_mask=0.05,
            corruption=0.2,
            graded=0.4,
            size=(288, 512),
            practice=1,
        ),
    ),
)
