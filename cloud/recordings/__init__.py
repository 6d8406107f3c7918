"""Recordings on the server: segments come in resumably, are held against their digest, and are kept."""
