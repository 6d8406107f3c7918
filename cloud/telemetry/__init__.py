"""Health of the fleet: from the broker into a time-series store, and onto the status page."""
