"""The published size (76 M parameters), on real data and GPUs: pictures that are moved first, then video.

    torchrun --nproc_per_node 4 train.py --recipe resnet50 --out runs/resnet50 --data images:IMAGES,MASKS \\
        --data davis:DAVIS*2 --data youtube:YouTube-VOS --validation davis:DAVIS

Its encoders start from torchvision's ImageNet weights (libs/training/imagenet.py), which `--backbone` or checkpoints/
must have, and learn at a tenth of the rate; their batch norms keep ImageNet's statistics.

Never run to its end by us: it is proven by overfitting one clip at a reduced size, and by a dry run over its stages
(tests/libs/training/test_resnet50.py).
"""

from libs.training.recipe import Recipe, Stage
from libs.training.state import PUBLISHED_ENCODERS

SIZE = (480, 864)

RECIPE = Recipe(
    name="resnet50",
    architecture="resnet50",
    steps=120_000,
    clips_per_step=16,
    learning_rate=1e-4,
    warm_up_steps=1000,
    unfrozen=PUBLISHED_ENCODERS,
    average_decay=0.999,
    precision="bfloat16",
    stages=(
        Stage(share=0.3, length=(2, 3), rounds=(0.5, 0.5), size=(384, 384), finished_mask=0.4, data=("images",)),
        Stage(
            share=0.3,
            length=(2, 3),
            rounds=(0.4, 0.6),
            size=(384, 672),
            finished_mask=0.3,
            stride=5,
            data=("davis", "youtube"),
        ),
        Stage(
            share=0.4,
            length=(4, 6),
            rounds=(0.3, 0.5, 0.2),
            size=SIZE,
            max_objects=3,
            stride=5,
            data=("davis", "youtube"),
        ),
    ),
)
