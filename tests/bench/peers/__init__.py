"""Faircrawl side by side with its peers: the same pages, in turn, on the same machine, in one run."""
