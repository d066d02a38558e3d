"""Sizes of the compact network."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class CompactConfig:
    """Written into the checkpoint, so that a file rebuilds its own network."""

    context_channels: int = 96
    key_channels: int = 64  # of the key that began with the global matching
    local_channels: int = 32  # and with the local one; both matchings use both
    value_channels: int = 16  # compared before and after the transfer
    object_channels: int = 24  # per object and annotated frame
    trunk_channels: int = 64
    skip4_channels: int = 32
    skip2_channels: int = 8
    detail_channels: int = 12
    fine_key_channels: int = 16
    fine_window: int = 2  # reach of the first refinement of motion, in cells of 4 pixels, to each side
    extent_channels: int = 128  # of the interaction branch's view of whole objects
    extent_blocks: int = 4
    window: int = 6  # reach of the local matching, in cells of 8 pixels, to each side
    window_rows: int = 4  # query rows matched at once; 32-pixel padding makes every height a multiple of it
