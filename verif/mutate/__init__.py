"""Mutation score: the share of small faults in the emitted netlist that the suite notices."""
