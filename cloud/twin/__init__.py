"""What each device should do and what it says it does: the twin."""
