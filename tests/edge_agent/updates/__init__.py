"""Updates on the device."""
