"""The real program."""
