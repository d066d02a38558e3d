"""Extra practice of the interaction alone, on a frame whose features are there already.

A pass annotates one or two frames and propagates to many, so the interaction branch sees few examples.  Practice costs
a fraction of a propagation: first strokes, or a correction of the propagated mask or of a draft with a part wrong;
then corrections of the result, all on one frame.
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
from libs.training.drafts import draft
from libs.training.losses import mask_loss
from libs.training.recipe import Recipe
from libs.training.samples import Sample
from networks.interface import aggregate

FRESH, DRAFT = 0.45, 0.35  # probability of starting from nothing, from a draft; else from the propagated mask
STROKED_DRAFT = 0.5  # probability that a draft comes with first strokes, as a frame has that was annotated before
TURNS = 3


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
    given: list[FrameAnnotation] = []
    prediction, chance = None, generator.random()
    if FRESH <= chance < FRESH + DRAFT:
        prediction = draft(sample.frames[frame], sample.truth[frame], sample.object_ids, generator)
        if generator.random() < STROKED_DRAFT:
            given.append(annotate(frame, sample.truth[frame], None, sample.object_ids, generator, recipe.style))
    elif chance >= FRESH:
        prediction = session.mask(frame)
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
        with segmenter.computing():
            interaction = segmenter.network.interact(
                segmenter.image(session, frame),
                segmenter.features(session, frame),
                torch.from_numpy(planes).to(segmenter.device),
            )
        probabilities = aggregate(interaction.foreground)
        losses.append(mask_loss(interaction.mask_logit, probabilities[1:, None], target, recipe.loss))
        prediction = probabilities.detach().argmax(0).byte().cpu().numpy()
    return losses
