"""The trainer of a live stream, and how it is doing."""
