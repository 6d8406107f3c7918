"""The agent that runs on every device of the city."""
