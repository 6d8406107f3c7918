"""Simulated services outside of the municipality's control plane."""
