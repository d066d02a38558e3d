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
from collections.abc import Generator, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from dataset_torch.errors import UserError
from dataset_torch.frames import FrameSource
from libs.batch_encoder import BatchEncoder
from libs.device import autocast, bears_another_thread
from libs.feature_cache import FeatureCache, Spill
from libs.geometry import Geometry
from libs.guidance import INTERACTIVE, PUBLISHED, GuidanceOptions
from libs.interactions import FrameAnnotation
from libs.metrics import jaccard
from libs.prefetch import Prefetcher
from libs.ranges import Direction, Leg, blending_weight, round_legs, select_memory
from libs.scribble_maps import interaction_planes, mask_core_planes
from libs.session import MemoryRecord, Round, Session, rows_of
from libs.storage import Prediction, StorageFormat
from libs.trail import Trail
from networks.interface import FrameFeatures, GuidedNetwork, Interaction, MemoryEntry, Propagation, aggregate

# Chosen by measuring: checkpoints/gis-compact-measurements.md, "Second opinions and crossings".
SECOND_OPINIONS = 4  # at most: the first that is not adopted ends them
CROSSINGS = 1  # going through all of them wins .003 more, but then every round visits the whole video
# J of an opinion and what the strokes make of it, at least.  In a crossing another annotated frame speaks; in a first
# round a frame is told what it said itself, so the strokes must have less to object to.
CROSSING_BORNE_OUT = 0.7
BORNE_OUT = 0.9
# Each costs as much as an annotated frame, and more of them help only the first round of a long video (same file,
# "Memory of passed frames").
PASSED_FRAMES = 1
IMPORTED_MASK_LOGIT = 12.0  # sigmoid(12) = 1 - 6e-6: an imported mask is certain


@dataclass(frozen=True)
class SegmenterOptions:
    """The protocol of a round; the defaults are the published DAVIS protocol (spec section 4)."""

    range_proportion: float = 0.99  # share of the frames towards a neighbouring annotated frame that is visited
    blend: bool = True  # mix new probabilities with the earlier rounds' by distance (published: DAVIS yes, YouTube no)
    memory_limit: int = 3  # annotated frames that a frame reads at most: the first and the nearest; 0 = all
    passed_frames: int = 0  # propagated frames of the same direction that a frame reads besides; published: none
    passed_every: int = 2  # every how-many-th frame joins them
    second_opinions: int = 0  # times at most that the first annotated frame is judged again; published: none
    surroundings: int = 8  # frames to each side that are segmented for a second opinion
    crossings: int = 0  # annotated frames that a round judges again and goes on behind, to each side; published: none
    repeat_memory: bool = True  # a frame annotated twice is in the memory twice (published); False: the latest only
    wrap_scribbles: bool = False  # the published fault that draws border scribbles at the far border (section 2)
    short_side: int | None = None  # working size: length of the shorter side in pixels; None = the video's own
    stretch: bool = False  # round the working size to what the network needs instead of padding; published: pad
    resize_method: Literal["area", "cubic"] = "area"  # published YouTube protocol: cubic
    output_interpolation: Literal["bilinear", "nearest"] = "bilinear"  # back to the original size; published: nearest
    guidance: GuidanceOptions = PUBLISHED  # how RS1 and RS4 propose frames (see libs.guidance)
    keep_corrected: bool = False  # strokes' correction of an earlier mask is the result, not propagated; published: no
    lift_annotated: bool = False  # an annotated frame's R-score is at least that of the frames beside it; published: no
    storage: StorageFormat = "uint16"  # how probabilities are kept between frames (see libs.storage.Prediction)
    feature_budget_bytes: int = 640 << 20  # frame features kept over rounds; on a GPU this is GPU memory
    feature_spill: Spill = "none"  # where features beyond the budget go, in half precision; none: encoded again
    feature_spill_bytes: int = 8 << 30  # how much may go there
    frames_ahead: int = 4  # frames read and resized ahead in a thread, if the network leaves a core for it; 0 = none
    training: bool = False  # keep gradients, and put the network's tensors into the results

    @classmethod
    def for_network(cls, network: GuidedNetwork, **changes: object) -> SegmenterOptions:
        """The defaults for this network: the published protocol as it is for the published network.

        A network with a working size of its own gets that, and none of the published faults (spec section 6): a frame
        annotated again replaces its memory, and guidance proposes frames that were not annotated yet.
        """
        options = cls()
        if network.remembers_passed:
            options = replace(
                options, passed_frames=PASSED_FRAMES, second_opinions=SECOND_OPINIONS, crossings=CROSSINGS
            )
        if network.preferred_short_side is not None:
            options = replace(
                options,
                short_side=network.preferred_short_side,
                stretch=True,
                repeat_memory=False,
                guidance=INTERACTIVE,
                keep_corrected=True,
                lift_annotated=True,
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


@dataclass(frozen=True)
class _Plan:
    """What `propagate` is going to do."""

    now: int  # the frame annotated last
    sides: tuple[tuple[Direction, tuple[Leg, ...]], ...]
    around: tuple[tuple[Direction, Leg], ...]  # the surroundings of `now`, for a second opinion
    opinions: int  # that are still to be asked for

    @property
    def visits(self) -> tuple[int, ...]:
        once = [*(frame for _, leg in self.around for frame in leg.frames), self.now]
        return (*(once * self.opinions), *(frame for _, legs in self.sides for leg in legs for frame in leg.visits))


class Segmenter:
    """A network, the protocol's options, and where to compute; stateless between calls.

    `precision` is a `torch.dtype` for automatic mixed precision, or `None` for float32 throughout.  Sessions are saved
    with `network_id`, by default that of the network's weights, and opened with the same one only.
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
        self.network_id = network_id or network.weights_id or network.architecture
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
            stretch=self.options.stretch,
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
            lift_annotated=self.options.lift_annotated,
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
        state, objects_before = session.state, session.object_ids
        try:
            if not session.object_ids:
                for object_id in sorted(annotation.object_ids - {0}):
                    session.add_object(object_id)
            with self.computing():
                result, record, probabilities = self._annotated_frame(session, annotation)
        except BaseException:
            state.object_ids = objects_before
            raise
        for earlier in {m.frame for m in state.memory} - {annotation.frame}:
            # No direction starts from these again, so they need no more than any other frame (see below).
            kept = state.predictions.get(earlier)
            if type(kept) is Prediction and kept.format != self.options.storage:
                state.predictions[earlier] = Prediction.pack(kept.unpack(), kept.object_ids, self.options.storage)
        state.base_predictions = dict(state.predictions)
        state.opinions = 0
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
    ) -> tuple[int, ...]:
        """The frames that `propagate` will visit with the same arguments, in order, for progress displays.

        With second opinions some are visited, and yielded, more than once; they are all counted, though one that is not
        adopted ends them.  Raises `UserError` as `propagate` does.
        """
        return self._plan(session, direction, first, last).visits

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

        With `second_opinions` a first round over the whole video begins around the annotated frame: some frames to each
        side are segmented, the annotated frame is segmented from those alone, and its strokes correct that mask.  With
        `crossings` the round does the same with the annotated frames that it reaches, and goes on behind them.

        Raises `UserError` at the first frame asked for, with nothing changed: before anything is annotated, for an
        unknown direction, or for a range that holds no frame.  Raises it, too, when it is asked for more after the
        session got another annotation or other objects, or was restored: what it would go on with is gone.
        """
        state, objects, rounds = session.state, session.object_ids, len(session.state.rounds)
        with contextlib.closing(self._round(session, direction, first, last, start)) as results:
            for result in results:
                yield result
                if session.state is not state or session.object_ids != objects or len(state.rounds) != rounds:
                    raise UserError(
                        "the session was annotated, restored, or given other objects while it was propagated. "
                        "Propagate again; the frames visited before keep their masks."
                    )

    def _round(
        self, session: Session, direction: str, first: int | None, last: int | None, start: FrameResult | None
    ) -> Generator[FrameResult, None, None]:
        """What `propagate` does."""
        plan = self._plan(session, direction, first, last)
        session.features.plan(plan.visits)

        def needed(frame: int) -> bool:
            return frame not in session.features

        with Prefetcher(
            lambda frame: self._input(session, frame),
            plan.visits,
            ahead=self.options.frames_ahead if bears_another_thread(self.device) else 0,
            needed=needed,
        ) as reader:
            annotated = set(session.annotated_frames)  # encoded when they were annotated
            encoder = BatchEncoder(
                reader.take,
                self._encode,
                [frame for frame in plan.visits if frame not in annotated],
                together=self._frames_together(session.geometry),
                needed=needed,
            )
            while plan.opinions and session.state.opinions < self.options.second_opinions:
                yield from self._second_opinion(session, plan, encoder)
            memory = list(session.state.memory)  # annotated frames that are judged again are replaced in here
            left = sum(len(leg.visits) for _, legs in plan.sides for leg in legs)
            for result in self._both_sides(session, plan, encoder, memory, start):
                left -= 1
                if not left:
                    # Only now: if the caller stops before, the next call starts from the same memory as this one did.
                    session.state.memory = memory
                yield result

    # ---- the way of a round --------------------------------------------------------------------------------------

    def _both_sides(
        self,
        session: Session,
        plan: _Plan,
        encoder: BatchEncoder,
        memory: list[MemoryRecord],
        start: FrameResult | None,
    ) -> Iterator[FrameResult]:
        """Along every leg; annotated frames that are crossed are replaced in `memory`."""
        for side, legs in plan.sides:
            foreground = None if start is None else start.probabilities[1:, None].to(self.device)
            for leg in legs:
                trail = self._trail()
                foreground = yield from self._walk(session, leg, side, memory, encoder, trail, foreground)
                if leg.crossed is not None:
                    beside = leg.frames[-1] if leg.frames else leg.start
                    with self.computing():
                        result = self._judged_again(session, leg.crossed, [(beside, foreground)], memory, [trail])
                    foreground = result.probabilities[1:, None]
                    yield result

    def _plan(self, session: Session, direction: str, first: int | None, last: int | None) -> _Plan:
        annotated, state, options = session.annotated_frames, session.state, self.options
        if not annotated or not state.memory:
            raise UserError("nothing is annotated yet: scribble on a frame before propagating.")
        now, count = annotated[-1], len(session.frames)
        if direction not in ("both", "backward", "forward"):
            raise UserError(f"there is no direction {direction!r}; choose both, backward or forward.")
        if max(0, first or 0) > min(count - 1, count - 1 if last is None else last):
            raise UserError(f"there is no frame from {first} to {last}: the video has frames 0 to {count - 1}.")

        def within(frame: int) -> bool:
            return (first is None or frame >= first) and (last is None or frame <= last)

        crossable = self._open_to_opinions(session)
        sides = tuple(
            (
                side,
                round_legs(
                    annotated,
                    now,
                    count,
                    side,
                    proportion=options.range_proportion,
                    crossings=options.crossings if now in crossable else 0,
                    crossable=crossable,
                    within=within,
                ),
            )
            for side in ("backward", "forward")
            if direction in ("both", side)
        )
        whole = direction == "both" and first is None and last is None
        around = tuple((side, Leg(now, legs[0].frames[: options.surroundings])) for side, legs in sides)
        # A side that is too short to remember any of its frames has no opinion.
        around = tuple((side, leg) for side, leg in around if len(leg.frames) >= options.passed_every)
        asked = whole and len(annotated) == 1 and now in crossable and around and options.passed_frames > 0
        return _Plan(now, sides, around, options.second_opinions - state.opinions if asked else 0)

    def _open_to_opinions(self, session: Session) -> set[int]:
        """Annotated frames that may be judged again: with strokes on them and no finished mask, for all objects."""
        finished = {r.annotation.frame for r in session.rounds if r.annotation.mask is not None}
        return {m.frame for m in session.state.memory if m.object_ids == session.object_ids} - finished

    def _second_opinion(self, session: Session, plan: _Plan, encoder: BatchEncoder) -> Iterator[FrameResult]:
        """Judge the annotated frame again by what the frames around it make of it."""
        state = session.state
        before = state.memory[-1]
        sides, trails = [], []
        for side, leg in plan.around:
            trail, first = self._trail(), None
            for result in self._walk(session, leg, side, state.memory, encoder, trail):
                first = result if first is None else first
                yield result
            sides.append((leg.frames[0], first.probabilities[1:, None]))
            trails.append(trail)
        with self.computing():
            result = self._judged_again(session, plan.now, sides, state.memory, trails)
        # One that is not adopted changes nothing, so the next would be the same.
        adopted = state.memory[-1] is not before
        state.opinions = state.opinions + 1 if adopted else self.options.second_opinions
        yield result

    def _walk(
        self,
        session: Session,
        leg: Leg,
        side: Direction,
        memory: Sequence[MemoryRecord],
        encoder: BatchEncoder,
        trail: Trail,
        foreground: Tensor | None = None,
    ) -> Generator[FrameResult, None, Tensor]:
        """Propagate along a leg and return the last frame's foreground, O x 1 x H x W.

        `foreground` is that of the leg's start, by default the session's; `trail` is new, and keeps what was passed.
        """
        if foreground is None:
            foreground = session.padded_probabilities(leg.start)[1:, None].to(self.device)  # O x 1 x H x W
        neighbour = leg.start
        if leg.frames:
            with self.computing():
                beside = self.features(session, neighbour)
        for frame in leg.frames:
            # The context is left before every yield: the caller's code must not run under our autograd mode.
            with self.computing():
                query = session.features.get(frame, encoder.take)
                given = (neighbour, beside, foreground)
                result = self._propagated_frame(session, frame, query, given, side, trail, leg, memory)
            neighbour, beside, foreground = frame, query, result.probabilities[1:, None]
            yield result
        return foreground

    def _trail(self) -> Trail:
        return Trail(self.options.passed_frames, self.options.passed_every)

    # ---- inside a round ------------------------------------------------------------------------------------------

    def features(self, session: Session, frame: int) -> FrameFeatures:
        """The frame's features, encoded once and cached within the session's budget."""
        return session.features.get(frame, lambda index: self._encode([self._input(session, index)])[0])

    def _encode(self, inputs: Sequence[Tensor]) -> list[FrameFeatures]:
        """The features of frames given as the network's inputs, each 1 x 3 x H x W on the CPU."""
        images = torch.cat([self._moved(image) for image in inputs])
        return self.network.encode_frames(images)

    def _frames_together(self, geometry: Geometry) -> int:
        """How many frames are encoded in one batch."""
        height, width = geometry.padded_size
        return max(1, self.network.batch_pixels // (height * width))

    def _input(self, session: Session, frame: int) -> Tensor:
        """The network's input of a frame, on the CPU: 1 x 3 x H x W.  Also called from the thread that reads ahead."""
        network, method = self.network, self.options.resize_method
        image = session.frames.read(frame)
        tensor = session.geometry.to_input(image, network.image_mean, network.image_std, method=method)
        return tensor.pin_memory() if self.device.type == "cuda" else tensor

    def image(self, session: Session, frame: int) -> Tensor:
        """The network's input of a frame, on its device: 1 x 3 x H x W."""
        return self._moved(self._input(session, frame))

    def _moved(self, image: Tensor) -> Tensor:
        """An input on the network's device.  Only CUDA knows what it still copies from: elsewhere the caller waits."""
        return image.to(self.device, non_blocking=self.device.type == "cuda")

    def _annotated_frame(
        self, session: Session, annotation: FrameAnnotation
    ) -> tuple[FrameResult, MemoryRecord, Tensor]:
        """The annotated frame's result, its memory, and its probabilities (1 + O) x H x W."""
        frame, ids, geometry = annotation.frame, session.object_ids, session.geometry
        imported = annotation.mask is not None and not annotation.scribbles and not annotation.clicks
        previous, corrected = self._earlier_mask(session, annotation)
        planes = geometry.pad(self._planes(session, annotation, previous, corrected))
        planes = torch.from_numpy(planes).to(self.device)  # O x 3 x H x W
        features = self.features(session, frame)
        interaction = self.network.interact(self.image(session, frame), features, planes)
        if imported:
            interaction = replace(interaction, mask_logit=(planes[:, :1] * 2 - 1) * IMPORTED_MASK_LOGIT)
        entry, output, probabilities = self._settled(features, interaction, ids, corrected)
        if imported:
            objects = planes[:, 0]  # O x H x W, 0 or 1
            probabilities = torch.cat([1 - objects.sum(dim=0, keepdim=True), objects])
        result = self._result(frame, "annotated", output, probabilities)
        if self.options.training:
            result = replace(result, interaction_logit=interaction.mask_logit)
        return result, MemoryRecord(frame, ids, entry), probabilities

    def _settled(
        self, features: FrameFeatures, interaction: Interaction, ids: Sequence[int], corrected: Sequence[int]
    ) -> tuple[MemoryEntry, Propagation, Tensor]:
        """What the interaction comes to: memory, the network's output, probabilities (1 + O) x H x W.

        The propagation network thinks the masks over.  That helps where first strokes left much open, and loses some of
        what strokes mended in an earlier mask, which the objects `corrected` had.  Seven real sequences, J&F of frames
        just annotated: after first strokes .790 with it, .786 without; corrections in round 2 .887 and .893, in round 9
        .904 and .911.
        """
        entry = self.network.memorise(features, interaction)
        # Only this round's annotation counts here, and the frame is its own neighbour (spec section 4).
        output = self.network.propagate(features, features, interaction.foreground, [entry])
        foreground = output.foreground
        if self.options.keep_corrected:
            kept = torch.tensor([i in corrected for i in ids], device=foreground.device)[
                :, None, None, None
            ]  # O x 1 x 1 x 1
            foreground = torch.where(kept, interaction.foreground.to(foreground.dtype), foreground)
        return entry, output, aggregate(foreground)

    def _judged_again(
        self,
        session: Session,
        frame: int,
        neighbours: Sequence[tuple[int, Tensor]],
        memory: list[MemoryRecord],
        trails: Sequence[Trail],
    ) -> FrameResult:
        """Segment an annotated frame from others alone, then correct that by the frame's own strokes.

        `neighbours` are frames beside it with their foregrounds, O x 1 x H x W; what was passed on the way there, in
        `trails`, is read besides the other annotated frames of `memory`, in which the frame's own record is replaced.

        The others may be wrong.  If the strokes had to change too much of what they say (agreement, mean J, below
        `CROSSING_BORNE_OUT`, or `BORNE_OUT` where there is no other annotated frame), or what comes out is no nearer to
        it than the earlier mask, everything stays as it was.
        """
        features, ids, geometry = self.features(session, frame), session.object_ids, session.geometry
        others = [record for record in memory if record.frame != frame]
        order = select_memory([r.frame for r in others], frame, limit=self.options.memory_limit)
        # In a first round there is no other annotated frame, and all objects are asked for together.
        chosen = [others[position] for position in order]
        groups = self._object_groups(session, chosen) if chosen else [(list(range(len(ids))), [])]
        opinions = []
        for beside, foreground in neighbours:
            outputs = []
            for rows, records in groups:
                chosen_ids = [ids[row] for row in rows]
                entries = [rows_of(r, chosen_ids) for r in records]
                entries += [entry for trail in trails for entry in trail.entries(chosen_ids)]
                neighbour = self.features(session, beside)
                outputs.append((rows, self.network.propagate(features, neighbour, foreground[rows], entries)))
            opinions.append(aggregate(_merge(outputs, foreground).foreground))
        opinion = geometry.crop(torch.stack(opinions).mean(0)).argmax(dim=0).cpu().numpy()  # h x w
        opinion = np.array([0, *ids], np.uint8)[opinion]
        given = session.given(frame)
        planes = torch.from_numpy(geometry.pad(self._stroke_planes(session, given, opinion, ids))).to(self.device)
        interaction = self.network.interact(self.image(session, frame), features, planes)  # planes O x 3 x H x W
        # In a first round the opinion is the frame's own; later it comes from other frames that were annotated.
        entry, output, probabilities = self._settled(features, interaction, ids, ids if others else ())
        state, latest = session.state, frame == session.annotated_frames[-1]
        # Of an earlier round's frame what that round left, for this one may have been stopped and begun again.
        kept = (state.predictions if latest else state.base_predictions)[frame].unpack(ids).to(self.device)
        at_least = CROSSING_BORNE_OUT if others else BORNE_OUT
        if not self._borne_out(session, opinion, kept, probabilities, at_least):
            return FrameResult(frame, state.scores[frame], "annotated", kept[1:, None], kept)
        memory[:] = [MemoryRecord(frame, ids, entry) if record.frame == frame else record for record in memory]
        result = self._result(frame, "annotated", output, probabilities)
        storage = "float32" if latest else self.options.storage
        state.predictions[frame] = Prediction.pack(probabilities, ids, storage)
        state.scores[frame] = result.score
        return result

    def _borne_out(self, session: Session, opinion: np.ndarray, earlier: Tensor, now: Tensor, at_least: float) -> bool:
        """Whether the opinion (h x w of ids) is to be adopted; probabilities (1 + O) x H x W without and with it."""
        ids = np.array([0, *session.object_ids], np.uint8)
        masks = np.stack([ids[session.geometry.crop(p).argmax(dim=0).cpu().numpy()] for p in (earlier, now)])
        before, after = jaccard(np.stack([opinion, opinion]), masks, session.object_ids).mean(axis=1)
        return after >= max(at_least, before)

    def _planes(
        self, session: Session, annotation: FrameAnnotation, previous: np.ndarray | None, known: Sequence[int]
    ) -> np.ndarray:
        """Interaction planes of the annotated frame at the working size: float32 O x 3 x h x w; `previous` and `known`
        as `_earlier_mask` gives them."""
        if annotation.mask is not None and not annotation.scribbles and not annotation.clicks:
            return mask_core_planes(previous, session.object_ids)
        earlier = session.given(annotation.frame)
        return self._stroke_planes(session, [*earlier, annotation], previous, known)

    def _earlier_mask(self, session: Session, annotation: FrameAnnotation) -> tuple[np.ndarray | None, Sequence[int]]:
        """What the annotation's strokes correct: h x w of ids at the working size, if anything, and the objects that it
        can show."""
        if annotation.mask is not None:
            return session.geometry.resize_mask(annotation.mask), session.object_ids
        previous = session.working_mask(annotation.frame)
        return previous, () if previous is None else session.state.predictions[annotation.frame].object_ids

    def _stroke_planes(
        self, session: Session, given: Sequence[FrameAnnotation], previous: np.ndarray | None, known: Sequence[int]
    ) -> np.ndarray:
        """Planes of all that was given on a frame, with `previous` (h x w of ids) as the mask before."""
        return interaction_planes(
            given,
            session.object_ids,
            previous,
            session.geometry.working_height,
            session.geometry.working_width,
            known=known,
            wrap=self.options.wrap_scribbles,
            negatives_everywhere=self.network.negatives_everywhere,
        )

    def _propagated_frame(
        self,
        session: Session,
        frame: int,
        query: FrameFeatures,
        given: tuple[int, FrameFeatures, Tensor],
        side: Direction,
        trail: Trail,
        leg: Leg,
        memory: Sequence[MemoryRecord],
    ) -> FrameResult:
        """`query` are the frame's features; `given` is where its masks come from: the frame, its features, its
        foreground (O x 1 x H x W).  It is the one beside, or a farther one where a range begins away from what is
        annotated.
        """
        outputs: list[tuple[list[int], Propagation]] = []
        groups = []
        neighbour, beside, foreground = given
        compared = None if self.options.training else session.features.beside(frame, neighbour)
        for rows, records in self._object_groups(session, memory):
            order = select_memory([r.frame for r in records], frame, limit=self.options.memory_limit)
            groups.append((rows, [records[position] for position in order]))
        readings = self._readings(session, frame, query, [record for _, records in groups for record in records])
        for rows, records in groups:
            ids = [session.object_ids[row] for row in rows]
            entries = [*(rows_of(readings[id(record)], ids) for record in records), *trail.entries(ids)]
            outputs.append((rows, self.network.propagate(compared or query, beside, foreground[rows], entries)))
        if compared is None and not self.options.training:
            session.features.put_beside(frame, neighbour, self.network.compared(query, outputs[0][1]))
        output = _merge(outputs, foreground)
        probabilities = aggregate(output.foreground)
        old = session.state.base_predictions.get(frame)
        weight = (
            blending_weight(session.annotated_frames, leg.start, frame)
            if self.options.blend and old is not None
            else 1.0
        )
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

    def _object_groups(
        self, session: Session, memory: Sequence[MemoryRecord]
    ) -> list[tuple[list[int], list[MemoryRecord]]]:
        """Objects (as rows) that share the same annotated frames, with those frames in order of annotation.

        There is one group unless objects were added after the first round: a new object reads only the frames that
        were annotated since it exists.
        """
        groups: dict[tuple[int, ...], list[int]] = {}
        for row, object_id in enumerate(session.object_ids):
            key = tuple(i for i, m in enumerate(memory) if object_id in m.object_ids)
            groups.setdefault(key, []).append(row)
        return [(rows, [memory[i] for i in key]) for key, rows in groups.items() if key]

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
            stack.enter_context(autocast(self.device, self.precision or torch.float32))
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
