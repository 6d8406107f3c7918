"""Documents: from a citizen's wish to a sealed paper that is paid for only when it was printed."""
