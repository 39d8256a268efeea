"""Pages as a browser draws them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

needs_browser = pytest.mark.skipif(BROWSER is None, reason="no chromium here that could draw the page")


def drawn(path: Path, folder: Path) -> np.ndarray:
    """The page as a browser draws it, [H, W, 3]."""
    shot = folder / "shot.png"
    subprocess.run(
        [
            str(BROWSER), "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'profile'}",
            "--hide-scrollbars", "--window-size=1100,2400", f"--screenshot={shot}", path.as_uri(),
        ],
        check=True, capture_output=True, timeout=120,
    )
    return np.asarray(Image.open(shot).convert("RGB")).astype(int)


def amount(pixels: np.ndarray, colour: str) -> int:
    """How many pixels have a colour, given as in HTML."""
    wanted = [int(colour[i : i + 2], 16) for i in (0, 2, 4)]
    return int((abs(pixels - wanted).max(2) <= 3).sum())
