"""The integer operators and the arithmetic under them, as values."""
