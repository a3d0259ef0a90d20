"""Configs: sections with types and ranges, and one module for each kind of config.json. Here, the tagger's is at hand."""

from orpheus.config.sections import read
from orpheus.config.tagging import Config, load, parse

__all__ = ["Config", "load", "parse", "read"]
