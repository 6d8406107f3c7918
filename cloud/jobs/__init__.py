"""Jobs: what devices are asked to do, once, with an end that is always known."""
