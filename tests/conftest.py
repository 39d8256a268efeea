"""Settings for the whole suite."""

from __future__ import annotations

from hypothesis import settings

# Each run draws the same examples, so that two runs of the suite agree; no deadline, for slow machines exist.
settings.register_profile("suite", derandomize=True, deadline=None)
settings.load_profile("suite")
