"""The link to the cloud: an outbox that forgets nothing too early, over a connection that comes and goes."""
