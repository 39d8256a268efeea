"""Networks on bases in PyTorch: modules, models, training, and the way down to integers."""
