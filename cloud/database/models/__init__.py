"""Tables, one module per way; import this package to have them all in `Base.metadata`."""
