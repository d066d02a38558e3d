"""The compact network that ships with the project."""

from networks.compact.config import CompactConfig
from networks.compact.network import CompactGIS

__all__ = ["CompactConfig", "CompactGIS"]
