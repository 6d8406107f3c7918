"""The control plane: what runs on the city's servers."""
