"""Real servers, real sockets, no patched functions."""
