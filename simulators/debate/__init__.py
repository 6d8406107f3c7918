"""A debate of a fictional municipal assembly, spoken by synthetic voices, with known text."""
