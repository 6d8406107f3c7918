"""A whole city on one machine: the programs are the real ones; hardware and services are simulated."""
