"""Hundreds of devices in one process: the link of the real agent over a transport that needs no threads."""
