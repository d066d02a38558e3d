"""Where a trained compact network draws borders: both decoders, alone, at the size it works at; all else stays.

The shipped weights learned from masks that lay half a pixel lower than their pictures, and draw them there.  Short
chains: it is about the drawing, not about what is drawn.  What it won and cost is in
checkpoints/gis-compact-measurements.md; the shipped weights do not come from it.

    python -m dataset_torch.synthetic --material MATERIAL --out CLIPS --count 440 --steps 7 --size 288 512
    python train.py --recipe compact_borders --start-from CHECKPOINT --data clips:CLIPS --data images:PHOTOGRAPHS,MASKS
"""

from libs.training.recipe import LossWeights, Recipe, Stage

RECIPE = Recipe(
    name="compact_borders",
    architecture="compact",
    precision="bfloat16",
    steps=300,
    clips_per_step=4,
    learning_rate=4e-4,
    warm_up_steps=20,
    recolour=0.5,
    smallest_crop=0.75,
    loss=LossWeights(border=1.0),
    only=("interaction.decoder.", "propagation.decoder."),
    average_decay=0.98,
    stages=(
        Stage(
            share=1.0,
            length=(2, 4),
            rounds=(0.55, 0.35, 0.1),
            max_objects=4,
            finished_mask=0.1,
            corruption=0.2,
            size=(288, 512),
            practice=1,
        ),
    ),
)
