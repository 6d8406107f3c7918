"""Jobs: what operators ask of this device, done once and reported until the cloud has heard it."""
