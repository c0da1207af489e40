"""Published networks as lists of layers, and the choice of ABConv's groups."""
