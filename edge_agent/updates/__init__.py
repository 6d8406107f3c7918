"""Updates on the device: a new agent or a new firmware, tried before it stays."""
