"""Extra practice of the interaction alone, on a frame whose features are there already.

A pass annotates one or two frames and propagates to many, so the interaction branch sees few examples.  Practice costs
a fraction of a propagation: first strokes or a correction of the propagated mask, then a correction of the result.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from libs.interactions import FrameAnnotation
from libs.scribble_maps import interaction_planes
from libs.segmenter import Segmenter
from libs.session import Session
from libs.simulated_user import annotate
from libs.training.losses import mask_loss
from libs.training.recipe import Recipe
from libs.training.samples import Sample
from networks.interface import aggregate

FRESH = 0.5  # probability of starting from nothing instead of the propagated mask
TURNS = 2


def practise(
    segmenter: Segmenter,
    session: Session,
    sample: Sample,
    frame: int,
    target: Tensor,
    recipe: Recipe,
    generator: np.random.Generator,
) -> list[Tensor]:
    """Losses of up to `TURNS` turns on one frame that was segmented before; `target` O x 1 x H x W."""
    prediction = None if generator.random() < FRESH else session.mask(frame)
    given: list[FrameAnnotation] = []
    losses = []
    for _ in range(TURNS):
        strokes = annotate(frame, sample.truth[frame], prediction, sample.object_ids, generator, recipe.style)
        if strokes.is_empty:
            break
        given.append(strokes)
        planes = interaction_planes(
            given,
            sample.object_ids,
            prediction,
            *sample.truth.shape[1:],
            negatives_everywhere=segmenter.network.negatives_everywhere,
        )
        with segmenter._compute():
            interaction = segmenter.network.interact(
                segmenter._image(session, frame),
                segmenter.features(session, frame),
                torch.from_numpy(planes).to(segmenter.device),
            )
        probabilities = aggregate(interaction.foreground)
        losses.append(mask_loss(interaction.mask_logit, probabilities[1:, None], target, recipe.loss))
        prediction = probabilities.detach().argmax(0).byte().cpu().numpy()
    return losses
