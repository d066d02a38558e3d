"""What makes motion and borders precise, alone; everything else stays as it is.

Trained together with the rest, these layers made the network keep the masks that it is given, wrong ones too, and long
chains did not gain from it.  On top of a finished network they only place what it decides.
"""

from libs.training.recipe import LossWeights, Recipe, Stage

RECIPE = Recipe(
    name="compact_motion",
    architecture="compact",
    precision="bfloat16",
    steps=300,
    clips_per_step=4,
    learning_rate=1.5e-3,
    recolour=0.5,
    loss=LossWeights(border=2.0, warped=0.3),
    only=(
        "encoder.fine_key.",
        "propagation.refinement.",
        "propagation.last_refinement.",
        "propagation.decoder.edge",
        "propagation.decoder.trust.",
        "propagation.decoder.fine.",
        "propagation.decoder.last.",
    ),
    average_decay=0.99,
    stages=(
        Stage(share=0.6, length=(2, 3), rounds=(0.6, 0.4), max_objects=3, corruption=0.2, size=(192, 320)),
        Stage(share=0.4, length=(4, 5), rounds=(0.5, 0.5), max_objects=4, corruption=0.2, size=(224, 384)),
    ),
)
