"""Mutation score: the share of small faults in the emitted netlist that the suite notices."""

import sys
from pathlib import Path

# The suite's folder, as for pytest; here, so that it is done wherever a job arrives.
if str(Path(__file__).parents[1]) not in sys.path:
    sys.path.insert(0, str(Path(__file__).parents[1]))
