"""Telemetry: how this device is, measured every few seconds."""
