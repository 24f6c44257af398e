"""One promise, one suite."""
