# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""The page of scores in a headless Chromium without a network (``make test-page``)."""

import os
import re
import shutil
import subprocess

import numpy as np
import pytest
from matplotlib.image import imread
from test_scoring import write

from physicsnemo_fs.config.scores import ScoreConfig
from physicsnemo_fs.pipelines.scoring import run_score

OPTIONS = ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--enable-logging=stderr", "--v=0")
NO_NETWORK = "--host-resolver-rules=MAP * ~NOTFOUND"


@pytest.mark.browser
@pytest.mark.skipif("PHYSICSNEMO_FS_BROWSER" not in os.environ, reason="opens a browser: make test-page")
def test_the_page_opens_without_a_complaint_and_shows_its_figures(tmp_path):
    """Figures are there if most rows of the picture have more than the paper's colour, in many colours."""
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser is None:
        pytest.skip("needs a Chromium: install Debian's package chromium")
    path = write(tmp_path / "wet.nc", scale=1.5)
    config = ScoreConfig(path=str(path), output=str(tmp_path / "s"), preset="precipitation", bootstrap_samples=50)
    assert run_score(config) == 0
    page, picture = tmp_path / "s" / "report.html", tmp_path / "page.png"
    places = (f"--user-data-dir={tmp_path / 'profile'}", f"--screenshot={picture}", "--window-size=1100,6000")
    command = [browser, *OPTIONS, NO_NETWORK, *places, page.as_uri()]
    run = subprocess.run(command, capture_output=True, text=True, timeout=180)
    said = [line for line in run.stderr.splitlines() if "CONSOLE" in line and re.search(r"source: (file|data|$)", line)]
    assert said == []
    pixels = imread(picture)[..., :3]
    assert (pixels.std(axis=(1, 2)) > 0.01).mean() > 0.6
    assert len(np.unique((pixels[::3, ::3] * 15).round().astype(int).reshape(-1, 3), axis=0)) > 100
