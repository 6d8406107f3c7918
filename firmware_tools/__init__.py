"""Tools for the firmware of a device's I/O board."""
