"""The propagation of a trained compact network, on long chains at the size it works at; the reading of strokes stays.

The chains of recipe `compact` have seven frames at most, those of a video dozens, and many videos show smaller objects.
Two fifths of the frames are learned from, the others carry the masks on, with the errors that gather:

    python -m dataset_torch.synthetic --material MATERIAL --out LONG --count 900 --steps 24 --size 240 432
    python train.py --recipe compact_chains --start-from CHECKPOINT --data clips:LONG --validation clips:OTHERS

What it won alone, and what it cost, is in checkpoints/gis-compact-measurements.md; the shipped weights come from
`compact_joint` and `compact_whole`, which teach the reading of strokes as well.
"""

from libs.training.recipe import LossWeights, Recipe, Stage

RECIPE = Recipe(
    name="compact_chains",
    architecture="compact",
    precision="bfloat16",
    steps=190,
    clips_per_step=4,
    learning_rate=4e-4,
    warm_up_steps=20,
    recolour=0.5,
    smallest_crop=0.75,
    loss=LossWeights(border=1.0, transferred=0.3, ranking=0.1),
    only=("propagation.", "memoriser.", "encoder.query.", "encoder.detail.", "encoder.fine_key."),
    average_decay=0.98,
    stages=(
        Stage(
            share=1.0,
            length=(6, 12),
            rounds=(0.45, 0.4, 0.15),
            max_objects=4,
            finished_mask=0.05,
            corruption=0.2,
            graded=0.4,
            size=(288, 512),
        ),
    ),
)
