"""A city on a laptop: simulated hardware, outside services, and the deterministic world."""
