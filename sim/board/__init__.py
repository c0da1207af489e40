"""A board at the end of a wire: a real one, or its design simulated pin by pin."""
