"""The commands of ``abc-hw``, one module per stage of the work; :mod:`abc_hw.cli.main` joins them."""
