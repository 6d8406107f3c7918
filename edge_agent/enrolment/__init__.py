"""Enrolment: how this device gets its certificate."""
