"""Gateware of the ST-OS systolic array, written in Amaranth."""
