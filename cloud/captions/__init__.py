"""Live captions: sittings of the halls, what was said in them, and everybody who reads along."""
