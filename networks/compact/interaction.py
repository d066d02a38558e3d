"""The interaction branch: strokes and previous mask of the annotated frame -> first mask and object feature."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from networks.compact.colour import ColourEvidence
from networks.compact.config import CompactConfig
from networks.compact.encoder import CompactFeatures
from networks.compact.extent import ObjectExtent
from networks.compact.layers import Decoder, Trunk, conv, others, upsample
from networks.compact.matching import affinity, rows, temperature_of, transfer
from networks.interface import Interaction

AFFINITY_FLOOR = 1e-3  # what "nothing like it was stroked" weighs
PRIOR_LIMIT = 4.0
MOST_STROKED = 2048  # cells of stride 8, of 2304 at 288 x 512: more of them, on larger pictures, would cost gigabytes


class InteractionBranch(nn.Module):
    """Strokes become evidence in two ways: as planes, and as similarity of every position to the stroked ones."""

    def __init__(self, config: CompactConfig) -> None:
        super().__init__()
        c = config
        self.log_sharpness = nn.Parameter(torch.tensor(20.0).log())
        self.log_reach = nn.Parameter(torch.tensor(8.0).log())  # cells over which a stroke also counts by nearness
        self.planes4 = conv(3, 16, stride=2)
        self.planes8 = conv(16, 32, stride=2)
        self.context = conv(c.context_channels, c.trunk_channels, 1)
        self.evidence = conv(40, c.trunk_channels, 1)
        self.trunk = Trunk(c.trunk_channels)
        self.decoder = Decoder(
            c.trunk_channels,
            coarse=3,
            fine=3,
            skip4=c.skip4_channels,
            skip2=c.skip2_channels,
            coarse_priors=2,
            fine_priors=1,
        )
        self.colour = ColourEvidence()
        self.colour8 = conv(self.colour.channels, c.trunk_channels, 1, gain=0.0)
        self.colour4 = conv(self.colour.channels, 32, gain=0.0)
        self.object_feature = conv(c.trunk_channels, c.object_channels, 1)
        self.extent = ObjectExtent(c)

    def forward(self, features: CompactFeatures, planes: Tensor) -> Interaction:
        """`planes` O x 3 x H x W: previous mask (0.5 = none), positive, negative strokes."""
        previous, positive, negative = planes.float().unbind(1)  # O x H x W
        # Another object's stroke says "not this one" as clearly as a negative stroke does.
        negative = torch.maximum(negative, others(positive))
        planes = torch.stack([2 * previous - 1, positive, negative], 1)
        planes2 = F.avg_pool2d(planes, 2)
        planes8 = self.planes8(F.relu(self.planes4(planes2)))  # O x 32 x h x w
        similar = self._similarity(features, planes)  # O x 8 x h x w
        colour = self.colour(F.avg_pool2d(features.colour, 2), planes)  # O x 6 x H/4 x W/4
        inputs = self.evidence(torch.cat([F.relu(planes8), similar], 1)) + self.context(features.context)
        inputs = inputs + self.colour8(F.avg_pool2d(colour, 2))
        trunk = self.trunk(inputs)
        around = self.extent(features.deep16, features.deep32, trunk, F.max_pool2d(planes2, 4), similar)
        prior4 = upsample(similar[:, :2], 2)  # O x 2 x H/4 x W/4
        coarse = torch.cat([prior4, F.avg_pool2d(planes2[:, :1], 2)], 1)
        logit = self.decoder(
            trunk + around,
            (features.skip4, features.skip2),
            coarse,
            planes2,
            (prior4, 3 * planes2[:, :1]),
            extra=self.colour4(colour),
        )  # O x 1 x H x W
        return Interaction(mask_logit=logit, object_feature=self.object_feature(F.relu(trunk)))

    def _similarity(self, features: CompactFeatures, planes: Tensor) -> Tensor:
        """O x 8 x h x w: evidence for the object by likeness alone, and by likeness and nearness, each first as a
        bounded logit; then their positive and negative parts; the previous mask smoothed by likeness, and itself."""
        height, width = features.key.shape[-2:]
        count = planes.shape[0]
        stroked = F.max_pool2d(planes[:, 1:], 8).flatten(2)  # O x 2 x P
        previous = F.avg_pool2d(planes[:, :1], 8).flatten(2)  # O x 1 x P
        key = rows(features.key)  # P x 96
        temperature = temperature_of(self.log_sharpness)
        # Only stroked cells have a say in nearness: a few of the P columns.
        cells = torch.nonzero(stroked.amax((0, 1)) > 0)[:, 0]
        every = max(1, -(-len(cells) // MOST_STROKED))
        cells = cells[::every]
        near = affinity(key, key[cells], temperature) * self._nearness(height, width, cells)  # P x K
        with torch.autocast(key.device.type, enabled=False):
            columns = torch.cat(
                [
                    stroked.flatten(0, 1),
                    previous.flatten(0, 1),
                    torch.ones_like(previous[:1, 0]),
                ]
            ).t()
            same = torch.exp(-temperature)  # a position's affinity to one that is the same becomes 1
            wide = transfer(key, key, columns, temperature)[0].t() * same  # (3 O + 1) x P
            close = (near @ columns[cells, : 2 * count]).t().unflatten(0, (count, 2)) * same * every
            likeness = wide[: 2 * count].unflatten(0, (count, 2))
            smooth = wide[2 * count : 3 * count] / (wide[-1:] + 1e-30)  # O x P
            parts = [
                torch.log(likeness + AFFINITY_FLOOR),
                torch.log(close + AFFINITY_FLOOR),
            ]  # each O x 2 x P
        logits = [(p[:, :1] - p[:, 1:] - 1.0).clamp(-PRIOR_LIMIT, PRIOR_LIMIT) for p in parts]
        evidence = torch.cat([*logits, parts[0] / 4, parts[1] / 4, smooth[:, None], previous], 1)  # O x 8 x P
        return evidence.unflatten(2, (height, width))

    def _nearness(self, height: int, width: int, cells: Tensor) -> Tensor:
        """P x K, exp(-(distance / reach)^2) between every position and those of the K cells."""
        place = torch.arange(height * width, device=cells.device)
        dy = (place // width).float()[:, None] - (cells // width).float()[None]
        dx = (place % width).float()[:, None] - (cells % width).float()[None]
        return torch.exp(-torch.exp(-2 * self.log_reach) * (dx**2 + dy**2))
