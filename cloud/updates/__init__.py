"""Updates in the cloud: what is published, who gets it, and where it stands."""
