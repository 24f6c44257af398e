"""The core thinks: no await, no clock, no dice, no socket, no environment."""
