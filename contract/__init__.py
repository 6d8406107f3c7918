"""What both sides of Civic Fleet must agree on, and nothing else; no I/O happens here."""
