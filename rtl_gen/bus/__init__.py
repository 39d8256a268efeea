"""Buses that an accelerator can be asked through."""
