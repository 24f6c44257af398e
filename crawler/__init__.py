"""Faircrawl: a large-scale web crawler that is fair to the web and loses nothing."""

from importlib import metadata

try:
    __version__ = metadata.version("faircrawl")
except metadata.PackageNotFoundError:  # run from a checkout that was never installed
    __version__ = "0.0.0"
