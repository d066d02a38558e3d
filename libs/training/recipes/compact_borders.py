"""Where a trained compact network draws borders: both decoders, alone, at the size it works at; all else stays.

The shipped weights learned from masks that lay half a pixel lower than their pictures, and draw them there.  Short
chains: it is about the drawing, not about what is drawn.  What it won and cost is in
checkpoints/gis-compact-measurements.md; the shipped weights do not come from it.

    python -m dataset_torch.synthetic --material MATERIAL --out CLIPS --count 440 --steps 7 --size 288 512
    python train.py --recipe compact_borders --start-from CHECKPOINT --data clips:CLIPS --data images:PHOTOGRAPHS,MASKS
"""

from dataclasses import replace

from libs.training.recipes import compact_chains

CHAINS = compact_chains.RECIPE
RECIPE = replace(
    CHAINS,
    name="compact_borders",
    steps=300,
    only=("interaction.decoder.", "propagation.decoder."),
    stages=(
        replace(CHAINS.stages[0], length=(2, 4), rounds=(0.55, 0.35, 0.1), finished_mask=0.1, graded=1.0, practice=1),
    ),
)
