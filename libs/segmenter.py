"""The segmenter: one implementation of the interaction-propagation loop (spec: method.md, section 4).

Both evaluations, the app and training drive it alike::

    segmenter = Segmenter(network)
    session = segmenter.open(frames, object_ids=[1, 2])
    segmenter.annotate(session, FrameAnnotation(frame=0, scribbles=(...)))
    for result in segmenter.propagate(session):      # the caller owns progress, cancelling and saving
        print(result.frame, result.score)
    session.recommend("RS4")                         # where to look next

The network is shared by any number of sessions and never changed by them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from dataset_torch.errors import UserError
from dataset_torch.frames import FrameSource
from libs.feature_cache import FeatureCache, Spill
from libs.geometry import Geometry
from libs.guidance import INTERACTIVE, PUBLISHED, GuidanceOptions
from libs.interactions import FrameAnnotation
from libs.prefetch import Prefetcher
from libs.ranges import Direction, FrameRange, blending_weight, frame_range, select_memory
from libs.scribble_maps import interaction_planes, mask_core_planes
from libs.session import MemoryRecord, Round, Session, rows_of
from libs.storage import Prediction, StorageFormat
from libs.trail import Trail
from networks.interface import FrameFeatures, GuidedNetwork, Propagation, aggregate

PASSED_FRAMES = 1  # more of them win nothing, and each costs as much as an annotated frame
IMPORTED_MASK_LOGIT = 12.0  # sigmoid(12) = 1 - 6e-6: an imported mask is certain


@dataclass(frozen=True)
class SegmenterOptions:
    """The protocol of a round; the defaults are the published DAVIS protocol (spec section 4)."""

    range_proportion: float = 0.99  # share of the frames towards a neighbouring annotated frame that is visited
    blend: bool = True  # mix new probabilities with the earlier rounds' by distance (published: DAVIS yes, YouTube no)
    memory_limit: int = 3  # annotated frames that a frame reads at most: the first and the nearest; 0 = all
    passed_frames: int = 0  # propagated frames of the same direction that a frame reads besides; published: none
    passed_every: int = 2  # every how-many-th frame joins them
    repeat_memory: bool = True  # a frame annotated twice is in the memory twice (published); False: the latest only
    wrap_scribbles: bool = False  # the published fault that draws border scribbles at the far border (section 2)
    short_side: int | None = None  # working size: length of the shorter side in pixels; None = the video's own
    resize_method: Literal["area", "cubic"] = "area"  # published YouTube protocol: cubic
    output_interpolation: Literal["bilinear", "nearest"] = "bilinear"  # back to the original size; published: nearest
    guidance: GuidanceOptions = PUBLISHED  # how RS1 and RS4 propose frames (see libs.guidance)
    storage: StorageFormat = "uint16"  # how probabilities are kept between frames (see libs.storage.Prediction)
    feature_budget_bytes: int = 640 << 20  # frame features kept over rounds; on a GPU this is GPU memory
    feature_spill: Spill = "none"  # where features beyond the budget go, in half precision; none: encoded again
    feature_spill_bytes: int = 8 << 30  # how much may go there
    frames_ahead: int = 2  # frames read and resized ahead of the network in a thread; 0 = none
    training: bool = False  # keep gradients, and put the network's tensors into the results

    @classmethod
    def for_network(cls, network: GuidedNetwork, **changes: object) -> SegmenterOptions:
        """The defaults for this network: the published protocol as it is for the published network.

        A network with a working size of its own gets that, and none of the published faults (spec section 6): a frame
        annotated again replaces its memory, and guidance proposes frames that were not annotated yet.
        """
        options = cls(passed_frames=PASSED_FRAMES if network.remembers_passed else 0)
        if network.preferred_short_side is not None:
            options = replace(
                options, short_side=network.preferred_short_side, repeat_memory=False, guidance=INTERACTIVE
            )
        return replace(options, **changes)

    def protocol(self) -> dict[str, object]:
        """The options that decide results, without those that only trade memory for time; for the record of a run."""
        only_speed = ("feature_budget_bytes", "feature_spill_bytes", "frames_ahead")
        return {name: value for name, value in asdict(self).items() if name not in only_speed}


@dataclass(frozen=True)
class FrameResult:
    """One frame just segmented; read its mask from the session (`session.mask(result.frame)`)."""

    frame: int
    score: float  # R-score in (0, 1)
    direction: Direction | Literal["annotated"]
    foreground: Tensor  # O x 1 x H x W in (0, 1) at the padded size; with gradients only when training
    probabilities: Tensor  # (1 + O) x H x W at the padded size, blended; with gradients only when training
    propagation: Propagation | None = None  # the network's own output, only when training
    interaction_logit: Tensor | None = None  # O x 1 x H x W of the interaction branch, only when training


class Segmenter:
    """A network, the protocol's options, and where to compute; stateless between calls.

    `precision` is a `torch.dtype` for automatic mixed precision, or `None` for float32 throughout.
    """

    def __init__(
        self,
        network: GuidedNetwork,
        *,
        options: SegmenterOptions | None = None,
        device: torch.device | str | None = None,
        precision: torch.dtype | None = None,
        network_id: str = "",
    ):
        self.network = network
        self.options = options or SegmenterOptions.for_network(network)
        self.device = torch.device(device) if device is not None else next(network.parameters()).device
        self.precision = precision
        self.network_id = network_id or network.architecture
        network.to(self.device)
        if not self.options.training:
            network.eval()

    # ---- sessions ------------------------------------------------------------------------------------------------

    def open(self, frames: FrameSource, *, object_ids: Sequence[int] = ()) -> Session:
        """A new session on a video.  Without `object_ids`, those of the first annotation become the objects."""
        geometry = Geometry.of(
            frames.height,
            frames.width,
            short_side=self.options.short_side,
            multiple=self.network.pad_multiple,
            pad_always=self.network.pad_always,
        )
        options = self.options
        session = Session(
            frames,
            geometry,
            features=FeatureCache(
                options.feature_budget_bytes, spill=options.feature_spill, spill_bytes=options.feature_spill_bytes
            ),
            output_interpolation=self.options.output_interpolation,
            guidance=self.options.guidance,
            network_id=self.network_id,
        )
        for object_id in object_ids:
            session.add_object(int(object_id))
        return session

    def load(self, path: str | Path, frames: FrameSource) -> Session:
        """Open a saved session and go on as if it had not stopped.  Raises `UserError` (damaged, another video)."""
        session = self.open(frames)
        session.read(path, self.network.memory_class, self.device)
        return session

    # ---- one round -----------------------------------------------------------------------------------------------

    def annotate(self, session: Session, annotation: FrameAnnotation) -> FrameResult | None:
        """Begin a round: segment the annotated frame and add it to the memory (spec section 4, first item).

        All scribbles ever given on this frame count, not only these.  An empty annotation, in a session that has
        annotations, is recorded as an empty round and changes nothing else (returns `None`).  A mask without strokes
        is taken as the frame's result as it is.  Raises `UserError` for unknown objects or frames, with the session
        unchanged.
        """
        self._check(session, annotation)
        if annotation.is_empty:
            self.record_empty_round(session, annotation.frame)
            return None
        if not session.object_ids:
            for object_id in sorted(annotation.object_ids - {0}):
                session.add_object(object_id)
        with self.computing():
            result, record, probabilities = self._annotated_frame(session, annotation)
        state = session.state
        for earlier in {m.frame for m in state.memory} - {annotation.frame}:
            # No direction starts from these again, so they need no more than any other frame (see below).
            kept = state.predictions.get(earlier)
            if type(kept) is Prediction and kept.format != self.options.storage:
                state.predictions[earlier] = Prediction.pack(kept.unpack(), kept.object_ids, self.options.storage)
        state.base_predictions = dict(state.predictions)
        state.rounds.append(Round(len(state.rounds) + 1, annotation, session.object_ids))
        if not self.options.repeat_memory:
            state.memory = [m for m in state.memory if m.frame != annotation.frame]
        state.memory.append(record)
        # Every direction starts from this frame, so it is kept to the bit.
        state.predictions[annotation.frame] = Prediction.pack(probabilities, session.object_ids, "float32")
        state.scores[annotation.frame] = result.score
        return result

    def record_empty_round(self, session: Session, frame: int) -> None:
        """Record a round in which nothing was to be corrected; masks, memory and scores stay (spec section 6)."""
        session.frames.check_index(frame)
        state = session.state
        state.rounds.append(Round(len(state.rounds) + 1, FrameAnnotation(frame), session.object_ids, empty=True))

    def frames_to_visit(
        self,
        session: Session,
        *,
        direction: Literal["both", "backward", "forward"] = "both",
        first: int | None = None,
        last: int | None = None,
    ) -> FrameRange:
        """The frames that `propagate` will visit with the same arguments, in order, for progress displays."""
        annotated = session.annotated_frames
        if not annotated or not session.state.memory:
            raise UserError("nothing is annotated yet: scribble on a frame before propagating.")
        span = frame_range(annotated, annotated[-1], len(session.frames), proportion=self.options.range_proportion)

        def keep(frames: tuple[int, ...], side: str) -> tuple[int, ...]:
            if direction not in ("both", side):
                return ()
            return tuple(f for f in frames if (first is None or f >= first) and (last is None or f <= last))

        return FrameRange(keep(span.backward, "backward"), keep(span.forward, "forward"))

    def propagate(
        self,
        session: Session,
        *,
        direction: Literal["both", "backward", "forward"] = "both",
        first: int | None = None,
        last: int | None = None,
        start: FrameResult | None = None,
    ) -> Iterator[FrameResult]:
        """Carry the latest annotation through the video, one frame at a time: backward, then forward.

        A generator: each frame's result is in the session before it is yielded, so stopping at any time leaves a
        consistent session, and propagating again continues the same round (the blending starts from what the earlier
        rounds left, not from what this one did).  `first` and `last` limit the frames visited, both included.
        `start`, for training, is the result of `annotate`: its tensors then carry gradients into the first step.
        """
        span = self.frames_to_visit(session, direction=direction, first=first, last=last)
        annotated_frame = session.annotated_frames[-1]
        order = (*span.backward, *span.forward)
        session.features.plan(order)
        with Prefetcher(
            lambda frame: self._input(session, frame),
            order,
            ahead=self.options.frames_ahead,
            needed=lambda frame: frame not in session.features,
        ) as reader:
            for side, frames in (("backward", span.backward), ("forward", span.forward)):
                if not frames:
                    continue
                probabilities = session.padded_probabilities(annotated_frame) if start is None else start.probabilities
                foreground = probabilities[1:, None].to(self.device)  # O x 1 x H x W
                trail = Trail(self.options.passed_frames, self.options.passed_every)
                with self.computing():
                    beside = self.features(session, annotated_frame)
                for frame in frames:
                    # The context is left before every yield: the caller's code must not run under our autograd mode.
                    with self.computing():
                        query = self.features(session, frame, reader.take)
                        result = self._propagated_frame(session, frame, query, beside, foreground, side, trail)
                    foreground, beside = result.probabilities[1:, None], query
                    yield result

    # ---- inside a round ------------------------------------------------------------------------------------------

    def features(self, session: Session, frame: int, read: Callable[[int], Tensor] | None = None) -> FrameFeatures:
        """The frame's features, encoded once and cached within the session's budget.

        `read` gives the network's input of a frame, 1 x 3 x H x W on the CPU; by default it is made from the video.
        """
        read = read or (lambda index: self._input(session, index))
        return session.features.get(
            frame, lambda index: self.network.encode_frame(read(index).to(self.device, non_blocking=True))
        )

    def _input(self, session: Session, frame: int) -> Tensor:
        """The network's input of a frame, on the CPU: 1 x 3 x H x W.  Also called from the thread that reads ahead."""
        network, method = self.network, self.options.resize_method
        image = session.frames.read(frame)
        tensor = session.geometry.to_input(image, network.image_mean, network.image_std, method=method)
        return tensor.pin_memory() if self.device.type == "cuda" else tensor

    def image(self, session: Session, frame: int) -> Tensor:
        """The network's input of a frame, on its device: 1 x 3 x H x W."""
        return self._input(session, frame).to(self.device, non_blocking=True)

    def _annotated_frame(
        self, session: Session, annotation: FrameAnnotation
    ) -> tuple[FrameResult, MemoryRecord, Tensor]:
        """The annotated frame's result, its memory, and its probabilities (1 + O) x H x W."""
        frame, ids, geometry = annotation.frame, session.object_ids, session.geometry
        imported = annotation.mask is not None and not annotation.scribbles and not annotation.clicks
        planes = torch.from_numpy(geometry.pad(self._planes(session, annotation))).to(self.device)  # O x 3 x H x W
        features = self.features(session, frame)
        interaction = self.network.interact(self.image(session, frame), features, planes)
        if imported:
            interaction = replace(interaction, mask_logit=(planes[:, :1] * 2 - 1) * IMPORTED_MASK_LOGIT)
        entry = self.network.memorise(features, interaction)
        # Only this round's annotation counts here, and the frame is its own neighbour (spec section 4).
        output = self.network.propagate(features, features, interaction.foreground, [entry])
        if imported:
            objects = planes[:, 0]  # O x H x W, 0 or 1
            probabilities = torch.cat([1 - objects.sum(dim=0, keepdim=True), objects])
        else:
            probabilities = aggregate(output.foreground)
        result = self._result(frame, "annotated", output, probabilities)
        if self.options.training:
            result = replace(result, interaction_logit=interaction.mask_logit)
        return result, MemoryRecord(frame, ids, entry), probabilities

    def _planes(self, session: Session, annotation: FrameAnnotation) -> np.ndarray:
        """Interaction planes of the annotated frame at the working size: float32 O x 3 x h x w."""
        geometry, frame = session.geometry, annotation.frame
        mask = None if annotation.mask is None else geometry.resize_mask(annotation.mask)
        if mask is not None and not annotation.scribbles and not annotation.clicks:
            return mask_core_planes(mask, session.object_ids)
        earlier = [r.annotation for r in session.state.rounds if r.annotation.frame == frame]
        previous, known = session.working_mask(frame), ()
        if previous is not None:
            known = session.state.predictions[frame].object_ids
        if mask is not None:
            previous, known = mask, session.object_ids
        return interaction_planes(
            [*earlier, annotation],
            session.object_ids,
            previous,
            geometry.working_height,
            geometry.working_width,
            known=known,
            wrap=self.options.wrap_scribbles,
            negatives_everywhere=self.network.negatives_everywhere,
        )

    def _propagated_frame(
        self,
        session: Session,
        frame: int,
        query: FrameFeatures,
        beside: FrameFeatures,
        foreground: Tensor,
        side: Direction,
        trail: Trail,
    ) -> FrameResult:
        """`query` are the frame's features; `beside` and `foreground` (O x 1 x H x W) are the neighbour's."""
        outputs: list[tuple[list[int], Propagation]] = []
        groups = []
        for rows, records in self._object_groups(session):
            order = select_memory([r.frame for r in records], frame, limit=self.options.memory_limit)
            groups.append((rows, [records[position] for position in order]))
        readings = self._readings(session, frame, query, [record for _, records in groups for record in records])
        for rows, records in groups:
            ids = [session.object_ids[row] for row in rows]
            entries = [*(rows_of(readings[id(record)], ids) for record in records), *trail.entries(ids)]
            outputs.append((rows, self.network.propagate(query, beside, foreground[rows], entries)))
        output = _merge(outputs, foreground)
        probabilities = aggregate(output.foreground)
        annotated, now = session.annotated_frames, session.annotated_frames[-1]
        old = session.state.base_predictions.get(frame)
        weight = blending_weight(annotated, now, frame) if self.options.blend and old is not None else 1.0
        if weight < 1:
            before = old.unpack(session.object_ids).to(self.device)
            probabilities = weight * probabilities + (1 - weight) * before
        result = self._result(frame, side, output, probabilities)
        if trail.passes():
            for rows, part in outputs:
                entry = self.network.remember(query, part, probabilities[1:, None][rows])
                trail.add([session.object_ids[row] for row in rows], entry)
        session.state.predictions[frame] = Prediction.pack(probabilities, session.object_ids, self.options.storage)
        session.state.scores[frame] = result.score
        return result

    def _readings(
        self, session: Session, frame: int, query: FrameFeatures, records: list[MemoryRecord]
    ) -> dict[int, MemoryRecord]:
        """`id()` of each record -> the record as this frame reads it, kept with the frame's features over rounds."""
        if self.options.training:
            return {id(record): record for record in records}
        entries = session.features.read(
            frame, [record.entry for record in records], lambda entry: self.network.read(query, entry)
        )
        return {id(record): replace(record, entry=entry) for record, entry in zip(records, entries, strict=True)}

    def _object_groups(self, session: Session) -> list[tuple[list[int], list[MemoryRecord]]]:
        """Objects (as rows) that share the same annotated frames, with those frames in order of annotation.

        There is one group unless objects were added after the first round: a new object reads only the frames that
        were annotated since it exists.
        """
        groups: dict[tuple[int, ...], list[int]] = {}
        for row, object_id in enumerate(session.object_ids):
            key = tuple(i for i, m in enumerate(session.state.memory) if object_id in m.object_ids)
            groups.setdefault(key, []).append(row)
        return [(rows, [session.state.memory[i] for i in key]) for key, rows in groups.items() if key]

    def _result(
        self, frame: int, direction: Direction | Literal["annotated"], output: Propagation, probabilities: Tensor
    ) -> FrameResult:
        score = float(output.score.detach())
        if not self.options.training and not np.isfinite(score):
            raise RuntimeError(
                f"frame {frame}: the network's score is {score}; its weights or the precision are at fault"
            )
        propagation = output if self.options.training else None
        return FrameResult(frame, score, direction, output.foreground, probabilities, propagation)

    @contextlib.contextmanager
    def computing(self) -> Iterator[None]:
        """Autograd mode and precision of everything that the network does."""
        with contextlib.ExitStack() as stack:
            if not self.options.training:
                stack.enter_context(torch.inference_mode())
            if self.precision is not None and self.precision != torch.float32:
                stack.enter_context(torch.autocast(self.device.type, dtype=self.precision))
            yield

    def _check(self, session: Session, annotation: FrameAnnotation) -> None:
        if not 0 <= annotation.frame < len(session.frames):
            raise UserError(
                f"frame {annotation.frame} does not exist: {session.frames.name} has frames 0 to "
                f"{len(session.frames) - 1}."
            )
        if annotation.mask is not None:
            size = (session.geometry.height, session.geometry.width)
            if annotation.mask.shape != size or annotation.mask.dtype != np.uint8:
                raise UserError(
                    f"the mask for frame {annotation.frame} is {annotation.mask.dtype} {annotation.mask.shape}, it "
                    f"must be uint8 {size}: one object id per pixel of the frame."
                )
        if session.object_ids:
            unknown = annotation.object_ids - {0, *session.object_ids}
            if unknown:
                raise UserError(
                    f"the annotation of frame {annotation.frame} names object {sorted(unknown)[0]}, but the objects "
                    f"are {list(session.object_ids)}. Add the object first."
                )
        elif not annotation.object_ids - {0}:
            raise UserError("the session has no object yet: the first annotation must mark at least one.")
        if annotation.is_empty and not session.annotated_frames:
            raise UserError("the first round is empty: scribble on at least one object to begin.")


def _merge(outputs: list[tuple[list[int], Propagation]], foreground: Tensor) -> Propagation:
    """One `Propagation` of all objects from those of the groups; objects without memory are absent."""
    if len(outputs) == 1 and len(outputs[0][0]) == len(foreground):
        return outputs[0][1]
    merged = torch.zeros_like(foreground)
    score, reliability, count = 0.0, 0.0, 0
    for rows, output in outputs:
        merged[rows] = output.foreground.to(merged.dtype)
        score = score + len(rows) * output.score
        reliability = reliability + len(rows) * output.reliability
        count += len(rows)
    return Propagation(merged, score / count, reliability / count)
