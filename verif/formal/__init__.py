"""Formal proofs of the emitted core."""
