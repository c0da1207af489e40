"""Training of FuSe and ABConv networks with PyTorch, down to int8 networks for the array."""
