"""A plain transcription of the published computation, which the fast one is measured against and must agree with.

Written from the specification (method.md, sections 2 to 4) alone and with none of the project's network code: functions
of named weights.  Nothing is shared, kept or rearranged:

- every object is computed on its own, from the image on; the frame is encoded anew for every object and every round;
- keys, values and projections of the annotated frames are computed anew for every frame that reads them;
- the affinity matrices are dense, P x P, and there is one per annotated frame and one of the query with itself;
- the probabilities of all frames are kept in full size in float32.

Two faults of the published program are left out, because they change its results: dropout at test time, and the wrapped
scribbles.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from dataset_torch.frames import FrameSource
from libs.geometry import Geometry
from libs.interactions import FrameAnnotation
from libs.ranges import blending_weight, frame_range, select_memory
from libs.scribble_maps import interaction_planes
from networks.interface import GuidedNetwork

Part = Callable[[str], AbstractContextManager[object]]  # opens the timing of one part of the work


def untimed(name: str) -> AbstractContextManager[object]:
    """Where parts are not timed."""
    return nullcontext()


def bilinear(x: Tensor, factor: int) -> Tensor:
    """`bil`: upsampling with aligned corners."""
    return F.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=True)


class PlainNetwork:
    """The published network as functions of its weights.  Every tensor is that of one object: 1 x C x H x W."""

    def __init__(self, weights: Mapping[str, Tensor], *, part: Part = untimed):
        """`weights`: the state dict of a `networks.network.GISNet`, not folded."""
        self.weights = weights
        self.part = part

    # ---- layers --------------------------------------------------------------------------------------------------

    def conv(self, name: str, x: Tensor, *, stride: int = 1, dilation: int = 1) -> Tensor:
        weight = self.weights[f"{name}.weight"]
        weight = weight[..., None] if weight.dim() == 3 else weight
        padding = dilation * (weight.shape[-1] // 2)
        return F.conv2d(x, weight, self.weights.get(f"{name}.bias"), stride, padding, dilation)

    def norm(self, name: str, x: Tensor) -> Tensor:
        w = self.weights
        mean, variance = w[f"{name}.running_mean"], w[f"{name}.running_var"]
        return F.batch_norm(x, mean, variance, w[f"{name}.weight"], w[f"{name}.bias"])

    def conv_norm(self, name: str, x: Tensor, *, stride: int = 1, dilation: int = 1) -> Tensor:
        return self.norm(f"{name}.norm", self.conv(f"{name}.conv", x, stride=stride, dilation=dilation))

    def bottleneck(self, name: str, x: Tensor, stride: int, dilation: int) -> Tensor:
        shortcut = x
        if f"{name}.shortcut.conv.weight" in self.weights:
            shortcut = self.conv_norm(f"{name}.shortcut", x, stride=stride)
        elif f"{name}.shortcut.weight" in self.weights:
            shortcut = self.conv(f"{name}.shortcut", x, stride=stride)
        x = F.relu(self.conv_norm(f"{name}.reduce", x))
        x = F.relu(self.conv_norm(f"{name}.spatial", x, stride=stride, dilation=dilation))
        x = self.conv_norm(f"{name}.expand", x)
        scale = F.relu(self.conv(f"{name}.squeeze", F.adaptive_avg_pool2d(x, 1)))
        return F.relu(torch.sigmoid(self.conv(f"{name}.excite", scale)) * x + shortcut)

    def encoder(self, name: str, x: Tensor, stages: Sequence[tuple[int, int, Sequence[int]]]) -> list[Tensor]:
        """`stages`: blocks, stride and dilations of each -> the outputs of all stages."""
        x = F.relu(self.norm(f"{name}.stem.norm", self.conv(f"{name}.stem.conv", x, stride=2)))
        x = F.max_pool2d(x, 3, stride=2, padding=1)
        outputs = []
        for stage, (blocks, stride, dilations) in enumerate(stages):
            for block in range(blocks):
                step = stride if block == 0 else 1
                x = self.bottleneck(f"{name}.stages.{stage}.{block}", x, step, dilations[block])
            outputs.append(x)
        return outputs

    def aspp(self, name: str, x: Tensor, dilations: Sequence[int]) -> Tensor:
        branches = [
            F.relu(self.conv_norm(f"{name}.branches.{i}", x, dilation=dilation)) for i, dilation in enumerate(dilations)
        ]
        pooled = F.relu(self.conv_norm(f"{name}.image_branch", F.adaptive_avg_pool2d(x, 1)))
        branches.append(pooled.expand(-1, -1, *x.shape[-2:]))
        return F.relu(self.norm(f"{name}.merge_norm", self.conv(f"{name}.merge", torch.cat(branches, 1))))

    def refine(self, name: str, feature: Tensor, coarse: Tensor) -> Tensor:
        s = self.conv(f"{name}.skip_input", feature)
        s = s + self.conv(f"{name}.skip_residual2", F.relu(self.conv(f"{name}.skip_residual1", F.relu(s))))
        m = s + bilinear(coarse, 2)
        return m + self.conv(f"{name}.merged_residual2", F.relu(self.conv(f"{name}.merged_residual1", F.relu(m))))

    def reduced(self, name: str, x: Tensor) -> Tensor:
        for index in range(3):
            x = self.conv(f"{name}.reduce.{index}", F.relu(x))
        return x

    # ---- parts ---------------------------------------------------------------------------------------------------

    def encode_frame(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """1 x 3 x H x W -> r2 1 x 256 x H/4 x W/4 and r4 1 x 1024 x H/8 x W/8."""
        with self.part("encoder"):
            stages = ((3, 1, [1] * 3), (4, 2, [1] * 4), (6, 1, [2] * 6))
            r2, _, r4 = self.encoder("frame_encoder", image, stages)
        return r2, r4

    def interact(self, image: Tensor, planes: Tensor) -> tuple[Tensor, Tensor]:
        """Image and planes, 1 x 3 x H x W each -> mask logit 1 x 1 x H x W, object feature 1 x 256 x H/8 x W/8."""
        with self.part("interaction"):
            stages = ((3, 1, [1] * 3), (4, 2, [1] * 4), (6, 2, [1] * 6), (3, 1, [2, 4, 8]))
            r2, r3, _, r5 = self.encoder("interaction.encoder", torch.cat([image, planes], 1), stages)
            name = "interaction.decoder"
            spatial = self.aspp(f"{name}.aspp", r5, (1, 6, 12, 18))
            m = self.refine(f"{name}.refine3", r3, self.reduced(name, r5))
            m = self.refine(f"{name}.refine2", r2, m)
            decoded = torch.cat([m, bilinear(spatial, 4)], 1)  # 1 x 512 x H/4 x W/4
            x = F.relu(self.conv_norm(f"{name}.head.0", decoded))
            x = F.relu(self.conv_norm(f"{name}.head.2", x))
            logit = bilinear(self.conv(f"{name}.head.4", x), 4)
            name = "interaction.object_feature"
            parts = [bilinear(self.conv(f"{name}.from_r5", r5), 2), self.conv(f"{name}.from_r3", r3)]
            parts.append(self.bottleneck(f"{name}.from_decoder", decoded, 2, 1))
            return logit, self.conv(f"{name}.merge", torch.cat(parts, 1))

    def transfer(self, query: Tensor, annotated: Sequence[Tensor], features: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """r4 of the query and of the N annotated frames, their object features -> transferred feature
        1 x 256 x h x w, reliability map 1 x 1 x h x w."""
        with self.part("attention"):
            height, width = query.shape[-2:]
            key = self.conv("attention.key", query)[0].flatten(1)  # 128 x P
            value = self.conv("attention.value", key[None, :, :, None])[0, :, :, 0]
            own = value @ torch.softmax(key.t() @ key, dim=1)  # 128 x P
            moved, logits = [], []
            for r4, feature in zip(annotated, features, strict=True):
                other = self.conv("attention.key", r4)[0].flatten(1)
                other_value = self.conv("attention.value", other[None, :, :, None])[0, :, :, 0]
                affinity = torch.softmax(other.t() @ key, dim=1)  # P x P, over the query's positions
                moved.append(feature[0].flatten(1) @ affinity)
                distance = (other_value @ affinity - own).square().amax(0) + 0.1
                logits.append(1 / distance)
            logit = torch.stack(logits)  # N x P
            attention = torch.softmax(logit, dim=0)
            transferred = sum(a * m for a, m in zip(attention, moved, strict=True))
            reliability = torch.exp(logit.amax(0) / 2 - 5)
            return transferred.view(1, -1, height, width), reliability.view(1, 1, height, width)

    def local(self, query: Tensor, neighbour: Tensor, mask: Tensor) -> Tensor:
        """r4 of both frames, the neighbour's mask 1 x 1 x H x W -> 1 x 128 x h x w."""
        with self.part("local_propagation"):
            name = "local_propagation"
            small = F.interpolate(mask, size=query.shape[-2:], mode="bilinear", align_corners=True)
            theirs, ours = (self.conv(f"{name}.intersection_input", r4) for r4 in (neighbour, query))
            inter = self.conv(f"{name}.intersection", torch.exp(-(theirs - ours).square()))
            g = self.conv(f"{name}.neighbour", torch.cat([self.conv(f"{name}.neighbour_input", neighbour), small], 1))
            return self.conv(f"{name}.output", self.conv(f"{name}.merge", torch.cat([g, inter], 1)))

    def segment(self, transferred: Tensor, local: Tensor, r4: Tensor, r2: Tensor) -> Tensor:
        """-> two logits (background, object) per pixel, 1 x 2 x H x W."""
        with self.part("fusion"):
            x = torch.cat([transferred, local, self.conv("fusion.query_input", r4)], 1)
            x = self.conv("fusion.merge", x)
            spatial = self.aspp("fusion.aspp", x, (1, 12, 24, 36))
            m = self.refine("fusion.refine", r2, self.reduced("fusion", x))
            x = torch.cat([m, bilinear(spatial, 2)], 1)
        with self.part("head"):
            for index in (0, 2, 4, 6):
                x = F.relu(self.conv_norm(f"head.layers.{index}", x))
            return bilinear(self.conv("head.layers.7", x), 4)


@dataclass(frozen=True)
class PlainMemory:
    """One annotated frame, as the published program keeps it."""

    frame: int
    r4: Tensor  # 1 x 1024 x h x w
    features: tuple[Tensor, ...]  # per object 1 x 256 x h x w


class PlainSession:
    """The published loop on one video: `annotate` plays a whole round, `masks` reads the result.

    `annotate` is `begin`, then `turn` and a `step` per frame for each side; the benchmarks time single steps.
    """

    def __init__(self, network: PlainNetwork, frames: FrameSource, object_ids: Sequence[int]):
        self.network, self.frames, self.object_ids = network, frames, tuple(object_ids)
        self.geometry = Geometry.of(frames.height, frames.width, multiple=32, pad_always=True)
        channels, size = 1 + len(self.object_ids), self.geometry.padded_size
        self.probabilities = torch.zeros(len(frames), channels, *size)
        self.scores = np.full(len(frames), np.nan)
        self.annotations: list[FrameAnnotation] = []
        self.memory: list[PlainMemory] = []
        self.before = self.probabilities

    def annotate(self, annotation: FrameAnnotation) -> None:
        """One round: segment the annotated frame, then propagate backward and forward."""
        self.begin(annotation)
        span = frame_range([m.frame for m in self.memory], annotation.frame, len(self.frames))
        for side in (span.backward, span.forward):
            self.turn()
            for frame in side:
                self.step(frame)

    @torch.no_grad()
    def begin(self, annotation: FrameAnnotation) -> None:
        """Segment the annotated frame and add it to the memory."""
        a = annotation.frame
        image, planes = self._image(a), self._planes(annotation)
        logits, features, r4 = [], [], None
        for o in range(len(self.object_ids)):
            logit, feature = self.network.interact(image, planes[o : o + 1])
            r2, r4 = self.network.encode_frame(image)
            memory = [PlainMemory(a, r4, (feature,))]
            logits.append(self._object(r2, r4, r4, torch.sigmoid(logit), memory, 0))
            features.append(feature)
        assert r4 is not None
        self.annotations.append(annotation)
        self.memory.append(PlainMemory(a, r4, tuple(features)))
        self.before = self.probabilities.clone()
        self._store(a, logits)

    def turn(self) -> None:
        """Go back to the annotated frame, to start in the other direction."""
        self.neighbour, self.neighbour_r4 = self.memory[-1].frame, self.memory[-1].r4

    @torch.no_grad()
    def step(self, frame: int) -> None:
        """Propagate to one frame from the one before it."""
        annotated = [m.frame for m in self.memory]
        memory = [self.memory[i] for i in select_memory(annotated, frame)]
        image, logits, r4 = self._image(frame), [], None
        for o in range(len(self.object_ids)):
            r2, r4 = self.network.encode_frame(image)
            mask = self.probabilities[self.neighbour][None, o + 1 : o + 2]
            logits.append(self._object(r2, r4, self.neighbour_r4, mask, memory, o))
        self._store(frame, logits)
        if len(self.annotations) > 1:
            weight = blending_weight(annotated, annotated[-1], frame)
            self.probabilities[frame] = weight * self.probabilities[frame] + (1 - weight) * self.before[frame]
        self.neighbour, self.neighbour_r4 = frame, r4

    def masks(self) -> np.ndarray:
        """uint8 F x H x W of object ids."""
        ids = np.array([0, *self.object_ids], np.uint8)
        return ids[self.geometry.crop(self.probabilities).argmax(dim=1).numpy()]

    def _object(
        self, r2: Tensor, query: Tensor, neighbour: Tensor, mask: Tensor, memory: Sequence[PlainMemory], o: int
    ) -> tuple[Tensor, Tensor]:
        """Logits 1 x 2 x H x W and reliability of one object on one frame."""
        transferred, reliability = self.network.transfer(query, [m.r4 for m in memory], [m.features[o] for m in memory])
        local = self.network.local(query, neighbour, mask)
        return self.network.segment(transferred, local, query, r2), reliability

    def _store(self, frame: int, outputs: Sequence[tuple[Tensor, Tensor]]) -> None:
        logits = torch.cat([logit for logit, _ in outputs])  # O x 2 x H x W
        p = torch.softmax(logits, dim=1)[:, 1]
        p = torch.cat([torch.prod(1 - p, 0, keepdim=True), p]).clamp(1e-7, 1 - 1e-7)
        self.probabilities[frame] = torch.softmax(torch.log(p / (1 - p)), dim=0)
        rho = outputs[-1][1][0, 0]  # h x w, the same for all objects
        sampled = torch.softmax(logits[:, :, ::8, ::8], dim=0)[:, 1]  # over the objects, as published
        foreground = (sampled > 0.4).any(0).float()
        inside = (foreground * rho).sum() / (foreground.sum() + 0.1)
        self.scores[frame] = float(0.5 * (rho.mean() + inside))

    def _image(self, frame: int) -> Tensor:
        return self.geometry.to_input(self.frames.read(frame), GuidedNetwork.image_mean, GuidedNetwork.image_std)

    def _planes(self, annotation: FrameAnnotation) -> Tensor:
        a, geometry, previous = annotation.frame, self.geometry, None
        if self.annotations:
            ids = np.array([0, *self.object_ids], np.uint8)
            previous = ids[geometry.crop(self.probabilities[a]).argmax(0).numpy()]
        known = self.object_ids if self.annotations else ()
        given = [*(e for e in self.annotations if e.frame == a), annotation]
        size = geometry.working_height, geometry.working_width
        return torch.from_numpy(geometry.pad(interaction_planes(given, self.object_ids, previous, *size, known=known)))
