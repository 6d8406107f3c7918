"""The registry of devices, and who of them is there."""
