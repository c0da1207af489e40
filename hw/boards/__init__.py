"""Designs for boards: the accelerator, a memory, and a link to a host."""
