"""Blocks joined: a layer's engine, the accelerator, the loading of weights."""
