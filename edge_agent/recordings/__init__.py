"""Recordings on the device: crash-safe segments, uploaded resumably, deleted once they are stored."""
