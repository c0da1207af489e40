"""Mutation score: how many small faults in the emitted netlist does the suite notice?"""
