"""The reading of strokes and the propagation of a trained compact network together, on long chains.

A better first mask changes what the propagation is given, and what it returns is what corrections begin from: trained
apart, the two win little over rounds.  Chains are those of `compact_chains`; a frame beside each pass is annotated for
practice.  What the memory is told of an annotated frame stays:

    python train.py --recipe compact_joint --start-from CHECKPOINT --data clips:LONG --data images:PHOTOGRAPHS,MASKS
"""

from dataclasses import replace

from libs.training.recipes import compact_chains

CHAINS = compact_chains.RECIPE
RECIPE = replace(
    CHAINS,
    name="compact_joint",
    steps=230,
    only=("interaction.extent.", "interaction.decoder.", *CHAINS.only),
    stages=(replace(CHAINS.stages[0], length=(4, 10), rounds=(0.35, 0.4, 0.25), practice=1),),
)
