"""abc_hw: train, fold and export ABC-Net binary-basis networks for hardware."""
