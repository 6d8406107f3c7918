"""How a device gets its certificate, keeps it, and loses it."""
