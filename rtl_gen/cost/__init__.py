"""What hardware takes before it is synthesised, and the folding that suits a device."""
