"""Names of the published checkpoints' tensors, and ours (spec: method.md, section 3).

One entry per layer.  The layers of a kind that recurs (bottleneck, ASPP, refinement) are listed once.
"""

from __future__ import annotations

from functools import cache

from networks.deeplab.se_resnet import BLOCKS

BOTTLENECK = {
    "conv1": "reduce.conv",
    "bn1": "reduce.norm",
    "conv2": "spatial.conv",
    "bn2": "spatial.norm",
    "conv3": "expand.conv",
    "bn3": "expand.norm",
    "conv_down": "squeeze",
    "conv_up": "excite",
}
SHORTCUT_WITH_NORM = {"downsample.0": "shortcut.conv", "downsample.1": "shortcut.norm"}
SHORTCUT_BARE = {"downsample": "shortcut"}
ASPP = {
    **{f"aspp{i + 1}.atrous_conv": f"branches.{i}.conv" for i in range(4)},
    **{f"aspp{i + 1}.bn": f"branches.{i}.norm" for i in range(4)},
    "global_avg_pool.1": "image_branch.conv",
    "global_avg_pool.2": "image_branch.norm",
    "conv1": "merge",
    "bn1": "merge_norm",
}
REFINE = {
    "convFS1": "skip_input",
    "convFS2": "skip_residual1",
    "convFS3": "skip_residual2",
    "convMM1": "merged_residual1",
    "convMM2": "merged_residual2",
}
REDUCE = {f"convG{i}": f"reduce.{i}" for i in range(3)}
SINGLE = {
    "decoder_iact.lastconv.0": "interaction.decoder.head.0.conv",
    "decoder_iact.lastconv.1": "interaction.decoder.head.0.norm",
    "decoder_iact.lastconv.4": "interaction.decoder.head.2.conv",
    "decoder_iact.lastconv.5": "interaction.decoder.head.2.norm",
    "decoder_iact.lastconv.8": "interaction.decoder.head.4",
    "converter.conv16_8": "interaction.object_feature.from_r5",
    "converter.conv8_8": "interaction.object_feature.from_r3",
    "converter.conv_cat": "interaction.object_feature.merge",
    "transfer_module.f_conv_sim": "attention.key",
    "transfer_module.f_conv_att": "attention.value",
    "diff_module.f_conv_inter": "local_propagation.intersection_input",
    "diff_module.conv1_inter": "local_propagation.intersection",
    "diff_module.f_conv_diffu": "local_propagation.neighbour_input",
    "diff_module.conv1_diffu": "local_propagation.neighbour",
    "diff_module.conv2_diffu": "local_propagation.merge",
    "diff_module.conv3_diffu": "local_propagation.output",
    "feature_compounder.que_conv": "fusion.query_input",
    "feature_compounder.cat_conv": "fusion.merge",
    **{f"segmentation_head.conv{i + 1}": f"head.layers.{2 * i}.conv" for i in range(4)},
    **{f"segmentation_head.bn{i + 1}": f"head.layers.{2 * i}.norm" for i in range(4)},
    "segmentation_head.conv5": "head.layers.7",
}


@cache
def layer_names() -> dict[str, str]:
    """Published layer -> our layer, for every layer of the published network."""
    return {
        **_encoder("encoder_3ch", "conv0_3ch", "frame_encoder", stages=3),
        **_encoder("encoder_6ch", "conv0_6ch", "interaction.encoder", stages=4),
        **_within("decoder_iact.aspp_decoder", "interaction.decoder.aspp", ASPP),
        **_within("decoder_iact", "interaction.decoder", REDUCE),
        **_within("decoder_iact.RF3", "interaction.decoder.refine3", REFINE),
        **_within("decoder_iact.RF2", "interaction.decoder.refine2", REFINE),
        **_within("converter.block1", "interaction.object_feature.from_decoder", {**BOTTLENECK, **SHORTCUT_BARE}),
        **_within("feature_compounder.aspp_decoder", "fusion.aspp", ASPP),
        **_within("feature_compounder", "fusion", REDUCE),
        **_within("feature_compounder.RF2", "fusion.refine", REFINE),
        **SINGLE,
    }


def our_name(published: str) -> str | None:
    """Our name of a published tensor (`encoder_3ch.bn1.weight` -> `frame_encoder.stem.norm.weight`), if it is one."""
    layer, _, leaf = published.rpartition(".")
    ours = layer_names().get(layer)
    return None if ours is None else f"{ours}.{leaf}"


def published_name(ours: str) -> str:
    """The published name of one of our tensors; `ours` itself if it has none.  For messages."""
    layer, _, leaf = ours.rpartition(".")
    published = {v: k for k, v in layer_names().items()}.get(layer)
    return ours if published is None else f"{published}.{leaf}"


def _within(published: str, ours: str, names: dict[str, str]) -> dict[str, str]:
    return {f"{published}.{p}": f"{ours}.{o}" for p, o in names.items()}


def _encoder(published: str, stem: str, ours: str, *, stages: int) -> dict[str, str]:
    table = {f"{published}.{stem}": f"{ours}.stem.conv", f"{published}.bn1": f"{ours}.stem.norm"}
    for stage in range(stages):
        for block in range(BLOCKS[stage]):
            names = {**BOTTLENECK, **SHORTCUT_WITH_NORM} if block == 0 else BOTTLENECK
            table.update(_within(f"{published}.res{stage + 2}.{block}", f"{ours}.stages.{stage}.{block}", names))
    return table
