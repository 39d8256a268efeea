"""sim: the golden model, and the benches that hold generated hardware to it."""
