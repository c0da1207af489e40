"""The emitted core in a four-state simulator."""
