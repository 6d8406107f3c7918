"""A city in one heap: the real cores of devices and cloud on simulated time, power, disk, network and paper.

A seed is a whole history, so a seed is a bug report. Nothing here waits, and nothing reads a clock.
"""
