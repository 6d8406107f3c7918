"""The assembly: who sits where in each hall."""
