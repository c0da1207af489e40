"""The papers: their models, their numbers, and ours beside them."""
