"""A simulated I/O board: flash, MCUboot's behaviour, SMP on a serial line, and faults on demand."""
