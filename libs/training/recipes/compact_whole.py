"""Recipe `compact_joint` for every layer that learns at all (all but the backbone), and for longer.

What the memory is told of an annotated frame, and the keys that frames are matched by, move with the rest:

    python train.py --recipe compact_whole --start-from CHECKPOINT --data clips:LONG --data images:PHOTOGRAPHS,MASKS
"""

from dataclasses import replace

from libs.training.recipes import compact_joint

RECIPE = replace(compact_joint.RECIPE, name="compact_whole", steps=480, only=(), average_decay=0.99)
