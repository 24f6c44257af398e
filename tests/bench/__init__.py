"""What it costs: programs that measure, each with `--help`. Nothing here is collected as a test."""
