"""A whole city on one machine: all programs are the real ones; hardware and outside services are simulated."""
