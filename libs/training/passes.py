"""One training pass: a clip, a simulated user and the segmenter, for a few rounds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from dataset_torch.frames import ArrayFrames
from libs.interactions import FrameAnnotation
from libs.segmenter import FrameResult, Segmenter, SegmenterOptions
from libs.session import Session
from libs.simulated_user import annotate
from libs.training.damage import damage
from libs.training.losses import RANK_MARGIN, interaction_loss, object_targets, propagation_loss, ranking_loss
from libs.training.practice import practise
from libs.training.recipe import Recipe, Stage
from libs.training.samples import Sample
from networks.interface import FrameFeatures, GuidedNetwork, Interaction, MemoryEntry, Propagation, aggregate

TRAINING_OPTIONS = SegmenterOptions(blend=False, storage="float32", training=True, repeat_memory=False)
PASSED_FRAMES = 2  # as memory at most; none, one and two all occur, because not every frame is remembered
REMEMBERED = 0.6  # of the frames a clip passes; its frames lie further apart than a video's, so each is a candidate


class TrainedNetwork(GuidedNetwork):
    """The network as the segmenter sees it in training: the same, but neighbours' masks are sometimes damaged."""

    def __init__(self, network: GuidedNetwork) -> None:
        super().__init__()
        self.network = network
        self.probability, self.graded, self.generator = 0.0, 1.0, np.random.default_rng(0)
        for name in ("architecture", "pad_multiple", "image_mean", "image_std", "negatives_everywhere"):
            setattr(self, name, getattr(network, name))
        self.remembers_passed = network.remembers_passed
        self.pad_always = False  # training sizes are multiples already, and padding would have no truth to learn from

    def encode_frame(self, image: Tensor) -> FrameFeatures:
        return self.network.encode_frame(image)

    def interact(self, image: Tensor, features: FrameFeatures, planes: Tensor) -> Interaction:
        return self.network.interact(image, features, planes)

    def memorise(self, features: FrameFeatures, interaction: Interaction) -> MemoryEntry:
        return self.network.memorise(features, interaction)

    def remember(self, features: FrameFeatures, output: Propagation, foreground: Tensor) -> MemoryEntry | None:
        if self.generator.random() >= REMEMBERED:
            return None
        return self.network.remember(features, output, foreground)

    def propagate(
        self,
        query: FrameFeatures,
        neighbour: FrameFeatures,
        neighbour_foreground: Tensor,
        memory: Sequence[MemoryEntry],
    ) -> Propagation:
        # Gradients stop at the neighbour's mask: every frame answers for itself.
        foreground = neighbour_foreground.detach()
        if neighbour is query:
            # The annotated frame itself is the easy case: half of its gradients are enough, and each costs as much as
            # any other frame's.
            with torch.set_grad_enabled(self.generator.random() < 0.5):
                return self.network.propagate(query, neighbour, foreground, memory)
        if self.generator.random() < self.probability:
            foreground = damage(foreground, self.generator)
        # Some frames of a long chain only carry the masks on, errors and all; that costs a third of learning from them.
        with torch.set_grad_enabled(self.graded == 1 or self.generator.random() < self.graded):
            return self.network.propagate(query, neighbour, foreground, memory)


@dataclass
class PassResult:
    """What a pass gives: the loss with its graph, and plain figures."""

    loss: Tensor
    interaction_quality: list[float] = field(default_factory=list)  # mean J of annotated frames after annotating
    round_quality: list[float] = field(default_factory=list)  # per round, mean J over all frames
    rank_agreement: list[float] = field(default_factory=list)  # per round, share of frame pairs ranked rightly


def training_segmenter(network: GuidedNetwork, recipe: Recipe) -> Segmenter:
    """The segmenter that `run_pass` drives; made once, it goes through all parameters."""
    options = replace(TRAINING_OPTIONS, passed_frames=PASSED_FRAMES if network.remembers_passed else 0, passed_every=1)
    precision = None if recipe.precision == "float32" else getattr(torch, recipe.precision)
    return Segmenter(TrainedNetwork(network), options=options, precision=precision)


def run_pass(
    segmenter: Segmenter,
    sample: Sample,
    recipe: Recipe,
    stage: Stage,
    generator: np.random.Generator,
) -> PassResult:
    """Rounds on one sample through a `training_segmenter`; the network's parameters get no gradient yet."""
    wrapped = segmenter.network
    wrapped.probability, wrapped.graded, wrapped.generator = stage.corruption, stage.graded, generator
    session = segmenter.open(ArrayFrames(sample.frames), object_ids=sample.object_ids)
    targets = [object_targets(torch.from_numpy(t), len(sample.object_ids)).to(segmenter.device) for t in sample.truth]
    encode_all(segmenter, session, wrapped.network)
    rounds = 1 + int(generator.choice(len(stage.rounds), p=np.array(stage.rounds) / sum(stage.rounds)))
    nothing = torch.zeros((), device=segmenter.device)
    qualities = [nothing] * len(targets)
    scores = [0.0] * len(targets)
    terms: list[Tensor] = []
    result = PassResult(loss=nothing)
    for number in range(rounds):
        frame = sample.first_frame if number == 0 else next_frame(qualities, scores, generator)
        given = _annotation(session, sample, frame, number, recipe, stage, generator)
        if given.is_empty:
            break
        collected = _one_round(segmenter, session, given, targets, recipe)
        terms += collected.terms
        for index, quality in collected.quality_of.items():
            qualities[index], scores[index] = quality, collected.score_of[index]
        if collected.interaction_quality is not None:
            result.interaction_quality.append(collected.interaction_quality)
        result.round_quality.append(float(torch.stack(qualities).mean()))
        if len(collected.scores) > 1:
            terms.append(recipe.loss.ranking * ranking_loss(collected.scores, collected.qualities))
            result.rank_agreement += _agreement(collected.scores, collected.qualities)
    if terms:  # none where all that is to be stroked is smaller than a user would stroke
        result.loss = torch.stack(terms).sum() / rounds
    practised = int(stage.practice) + int(generator.random() < stage.practice % 1)
    for frame in generator.permutation(len(targets))[:practised]:
        losses = practise(segmenter, session, sample, int(frame), targets[frame], recipe, generator)
        if losses:
            result.loss = result.loss + recipe.loss.interaction * torch.stack(losses).mean()
    return result


def encode_all(segmenter: Segmenter, session: Session, network: GuidedNetwork) -> None:
    """Encode all frames in one batch if the network gains by it; the session then finds them in its cache."""
    if not network.batch_pixels:
        return
    images = torch.cat([segmenter.image(session, index) for index in range(len(session.frames))])
    with segmenter.computing():
        features = network.encode_frames(images)
    for index, entry in enumerate(features):
        session.features.get(index, lambda _, entry=entry: entry)


def next_frame(qualities: Sequence[Tensor], scores: Sequence[float], generator: np.random.Generator) -> int:
    """The frame of the next round: mostly the truly worst, sometimes the one of lowest R-score, sometimes any."""
    chance = generator.random()
    if chance < 0.6:
        return int(torch.stack(list(qualities)).argmin())
    if chance < 0.8:
        return int(np.argmin(scores))
    return int(generator.integers(len(qualities)))


@dataclass
class _Round:
    terms: list[Tensor] = field(default_factory=list)
    qualities: list[Tensor] = field(default_factory=list)  # mean J over objects, of every judged frame
    scores: list[Tensor] = field(default_factory=list)  # R-score of the same frames
    quality_of: dict[int, Tensor] = field(default_factory=dict)  # of every frame visited
    score_of: dict[int, float] = field(default_factory=dict)
    interaction_quality: float | None = None


def _one_round(
    segmenter: Segmenter,
    session: Session,
    given: FrameAnnotation,
    targets: Sequence[Tensor],
    recipe: Recipe,
) -> _Round:
    weights = recipe.loss
    first = segmenter.annotate(session, given)
    terms: list[Tensor] = []
    collected = _Round()
    if given.mask is None:
        terms.append(interaction_loss(first, targets[given.frame], weights))
    results: list[FrameResult] = [first, *segmenter.propagate(session)]
    frame_terms = []
    for result in results:
        if result is first and given.mask is not None:
            quality = torch.ones(len(targets[given.frame]), device=segmenter.device)
            # The mask stands; that the network would keep it, too, is worth learning: borders known exactly stay so.
            settled = aggregate(result.propagation.foreground)
            frame_terms.append(propagation_loss(result.propagation, settled, targets[result.frame], weights)[0])
        else:
            # A recipe may train the judgement alone: then the mask has no gradient, and the score has.
            output = result.propagation
            learned_from = output.foreground.requires_grad or output.score.requires_grad
            with torch.set_grad_enabled(learned_from):
                loss, quality = propagation_loss(output, result.probabilities, targets[result.frame], weights)
            if learned_from:
                frame_terms.append(loss)
            collected.scores.append(result.propagation.score)
            collected.qualities.append(quality.mean())
        collected.quality_of[result.frame] = quality.mean()
        collected.score_of[result.frame] = result.score
        if result is first:
            collected.interaction_quality = float(quality.mean()) if given.mask is None else None
    if frame_terms:
        terms.append(torch.stack(frame_terms).mean())
    collected.terms = terms
    return collected


def _annotation(
    session: Session,
    sample: Sample,
    frame: int,
    number: int,
    recipe: Recipe,
    stage: Stage,
    generator: np.random.Generator,
) -> FrameAnnotation:
    truth = sample.truth[frame]
    if number == 0 and generator.random() < stage.finished_mask:
        return FrameAnnotation(frame, mask=truth)
    prediction = None if number == 0 else session.mask(frame)
    return annotate(frame, truth, prediction, sample.object_ids, generator, recipe.style)


def _agreement(scores: Sequence[Tensor], qualities: Sequence[Tensor]) -> list[float]:
    score, quality = torch.stack(list(scores)).detach(), torch.stack(list(qualities))
    pairs = quality[:, None] - quality[None] > RANK_MARGIN
    if not pairs.any():
        return []
    return [float(((score[:, None] > score[None]) & pairs).sum() / pairs.sum())]
