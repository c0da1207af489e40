"""The core as a machine: tiles, what they compute, and how long they take."""
