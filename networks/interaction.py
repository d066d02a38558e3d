"""The interaction branch: an annotated frame and its scribbles become a mask and an object feature."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from networks.deeplab.aspp import ASPP
from networks.deeplab.se_resnet import SEBottleneck, SEResNet
from networks.layers import ConvNorm, conv_same, upsample
from networks.refine import Refine


class InteractionDecoder(nn.Module):
    """Encoder features -> a mask logit and the 512-channel map that the object feature is made of."""

    def __init__(self) -> None:
        super().__init__()
        self.aspp = ASPP(2048, 256, stride=16)
        self.reduce = nn.ModuleList([conv_same(2048, 256, 3), conv_same(256, 256, 3), conv_same(256, 256, 3)])
        self.refine3 = Refine(512, 256)
        self.refine2 = Refine(256, 256)
        self.head = nn.Sequential(
            ConvNorm(512, 256, 3),
            nn.Dropout(0.5),
            ConvNorm(256, 256, 3),
            nn.Dropout(0.1),
            nn.Conv2d(256, 1, 1),
        )

    def features(self, r2: Tensor, r3: Tensor, r5: Tensor) -> tuple[Tensor, Tensor]:
        """-> O x 512 x H/4 x W/4, and its part from the ASPP before upsampling, O x 256 x H/16 x W/16."""
        aspp = self.aspp(r5)
        m = r5
        for conv in self.reduce:
            m = conv(F.relu(m))
        m = self.refine3(self.refine3.skip(r3), m)  # O x 256 x H/8 x W/8
        m = self.refine2(self.refine2.skip(r2), m)  # O x 256 x H/4 x W/4
        return torch.cat([m, upsample(aspp, 4)], dim=1), aspp

    def forward(self, r2: Tensor, r3: Tensor, r5: Tensor) -> tuple[Tensor, Tensor]:
        """-> mask logit O x 1 x H x W and features O x 512 x H/4 x W/4."""
        features, _ = self.features(r2, r3, r5)
        return upsample(self.head(features), 4), features


class ObjectFeature(nn.Module):
    """Encoder and decoder features of the annotated frame -> the object feature that is passed to other frames."""

    def __init__(self) -> None:
        super().__init__()
        self.from_r5 = nn.Conv2d(2048, 256, 1)
        self.from_r3 = nn.Conv2d(512, 256, 1)
        shortcut = nn.Conv2d(512, 256, 1, stride=2, bias=False)
        self.from_decoder = SEBottleneck(512, 64, stride=2, shortcut=shortcut)
        self.merge = conv_same(768, 256, 3)

    def forward(self, r3: Tensor, r5: Tensor, decoded: Tensor) -> Tensor:
        """r3 O x 512 x H/8 x W/8, r5 O x 2048 x H/16 x W/16, decoded O x 512 x H/4 x W/4 -> O x 256 x H/8 x W/8."""
        parts = [upsample(self.from_r5(r5), 2), self.from_r3(r3), self.from_decoder(decoded)]
        return self.merge(torch.cat(parts, dim=1))


class InteractionBranch(nn.Module):
    """Image + three interaction planes per object -> mask logit and object feature."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = SEResNet(6, strides=(1, 2, 2, 1), dilations=(1, 1, 1, (2, 4, 8)))
        self.decoder = InteractionDecoder()
        self.object_feature = ObjectFeature()

    def forward(self, image: Tensor, planes: Tensor) -> tuple[Tensor, Tensor]:
        """`image` O x 3 x H x W, `planes` O x 3 x H x W -> mask logit O x 1 x H x W, feature O x 256 x H/8 x W/8."""
        r2, r3, _, r5 = self.encoder(torch.cat([image, planes], dim=1))
        mask_logit, decoded = self.decoder(r2, r3, r5)
        return mask_logit, self.object_feature(r3, r5, decoded)
