"""Sources of bars: the built-in sample, simulated markets, files as tools write them."""

from steelyard.gateways.sources.settings import SourceSettings, from_argument
from steelyard.gateways.sources.source import NO_SOURCE, RawBars, package_file, read

__all__ = ["NO_SOURCE", "RawBars", "SourceSettings", "from_argument", "package_file", "read"]
