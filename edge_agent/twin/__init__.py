"""What is desired of this device, and what it says it does: its twin."""
