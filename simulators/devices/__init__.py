"""Simulated hardware of a kiosk and of a hall: each speaks the protocol of the real thing."""
