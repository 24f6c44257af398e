"""Laws of what only thinks."""
