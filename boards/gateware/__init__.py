"""What a board holds besides the accelerator: clock, serial line, the device's half of the link."""
