"""The accelerator's compiler, its exact cycle model, and its RTL in a simulator."""
