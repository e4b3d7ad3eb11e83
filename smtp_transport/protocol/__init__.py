"""The protocol as a room without windows: bytes in, values out; no socket, no clock, no randomness."""
