"""Deterministic weights for NET_GAmap from (key, shape) alone.  numpy + torch only.

fill(state_dict) -> {key: tensor}.  Every tensor is drawn from numpy.random.default_rng(zlib.crc32(key.encode()))
in float64 and cast to float32.
  conv / linear weight : N(0, sqrt(k / fan_in)), k = 2 * GAIN   (fan_in = prod(shape[1:]))
  BN weight            : U(.8, 1.2)      BN bias : N(0, .1)
  BN running_mean      : N(0, .1)        BN running_var : U(.8, 1.2)      num_batches_tracked : 1
  conv bias            : N(0, .05)
A 1-d "weight" with a sibling "running_mean" is a BN weight.
"""

import zlib

import numpy as np
import torch

# first matching rule wins; value multiplies the std of the weight (not the variance)
GAIN = [
    (("encoder_", ".conv3.weight"), 0.4),  # residual branches: keep the trunk O(1)
    (("", ".convFS3.weight"), 0.4),
    (("", ".convMM2.weight"), 0.4),
    (("converter", "conv_cat.weight"), 0.2),
    (("converter", "conv_up.weight"), 0.3),
    (("decoder_iact", "lastconv.8.weight"), 1.5),
    (("transfer_module", "f_conv_sim.weight"), 0.15),  # soft, not one-hot, similarities
    (("transfer_module", "f_conv_att.weight"), 3.0),
    (("diff_module", "f_conv_diffu.weight"), 0.15),
    (("diff_module", "conv3_diffu.weight"), 0.5),
    (("feature_compounder", "que_conv.weight"), 0.3),
    (("segmentation_head", "conv5.weight"), 1.0),
]
# (key, input-channel slice, gain)
CH_GAIN = [
    ("encoder_6ch.conv0_6ch.weight", (0, 3), 0.5),
    ("encoder_6ch.conv0_6ch.weight", (3, 4), 4.0),  # previous mask matters
    ("encoder_6ch.conv0_6ch.weight", (4, 6), 15.0),  # scribbles matter (few pixels)
    ("diff_module.conv1_diffu.weight", (128, 129), 42.0),  # neighbour mask matters
    ("feature_compounder.cat_conv.weight", (0, 256), 0.5),
    ("feature_compounder.cat_conv.weight", (256, 384), 1.5),
]
# weights whose rows (per output channel) are made zero-sum over the input channels: their inputs are
# post-ReLU (all positive), this removes the large common offset
CENTER = [
    "transfer_module.f_conv_sim.weight",
    "diff_module.f_conv_diffu.weight",
    "feature_compounder.que_conv.weight",
    "decoder_iact.lastconv.8.weight",
    "segmentation_head.conv5.weight",
]
BIAS_SHIFT = {
    "decoder_iact.lastconv.8.bias": [1.0],
    "segmentation_head.conv5.bias": [1.65, -1.65],
}


def fill(state_dict):
    bn = {k[: -len("running_mean")] for k in state_dict if k.endswith("running_mean")}
    out = {}
    for key, ref in state_dict.items():
        shape = tuple(ref.shape)
        rng = np.random.default_rng(zlib.crc32(key.encode()))
        prefix, leaf = key.rsplit(".", 1)
        prefix += "."
        if leaf == "num_batches_tracked":
            out[key] = torch.ones(shape, dtype=ref.dtype)
            continue
        if leaf == "running_mean":
            a = rng.standard_normal(shape) * 0.1
        elif leaf == "running_var" or prefix in bn and leaf == "weight":
            a = rng.uniform(0.8, 1.2, shape)
        elif prefix in bn and leaf == "bias":
            a = rng.standard_normal(shape) * 0.1
        elif leaf == "bias":
            a = rng.standard_normal(shape) * 0.05
        else:
            fan_in = int(np.prod(shape[1:]))
            g = next((v for s, v in GAIN if key.startswith(s[0]) and key.endswith(s[1])), 1.0)
            a = rng.standard_normal(shape) * np.sqrt(2.0 / fan_in) * g
            if key in CENTER:
                a = a - a.mean(axis=1, keepdims=True)
            for k2, sl, g2 in CH_GAIN:
                if key == k2:
                    a[:, slice(*sl)] *= g2
        if key in BIAS_SHIFT:
            a = a + np.asarray(BIAS_SHIFT[key], dtype=np.float64)
        out[key] = torch.from_numpy(np.ascontiguousarray(a.astype(np.float32)))
    return out
