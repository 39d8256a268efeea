"""The host's half of the link: serial port, driver, images, a simulated board."""
