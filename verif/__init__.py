"""Simulation, proof and comparison: everything that shows the rest to be right."""
