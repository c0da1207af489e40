"""A test of every component of the gateware."""
