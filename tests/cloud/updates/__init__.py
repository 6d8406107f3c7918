"""Updates in the cloud."""
