# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""The examples on real files, whole: half an hour, where PHYSICSNEMO_FS_DATA names the folder that holds them."""

import csv
import os
import subprocess
from pathlib import Path

import pytest

DATA = Path(os.environ.get("PHYSICSNEMO_FS_DATA", "."))
EXAMPLES = Path(__file__).parents[2] / "examples" / "corrdiff_fs"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif("PHYSICSNEMO_FS_DATA" not in os.environ, reason="PHYSICSNEMO_FS_DATA names no folder"),
]


def crps(folder, variable):
    with open(folder / "scores" / "scores_summary.csv", encoding="utf-8") as stream:
        rows = [row for row in csv.DictReader(stream) if row["variable"] == variable]
    found = {(row["model"], row["metric"]): float(row["value"]) for row in rows}
    return {model: found[model, "crps_fair"] for model in ("ensemble", "dressed interpolation")} | {
        "regression": found["regression", "mae"]
    }


@pytest.mark.parametrize(
    ("script", "source", "variable"),
    [("mrms.sh", "mrms", "rain_rate"), ("era5.sh", "era5-2mt-2019-03-uk.grib", "t2m")],
)
def test_the_ensemble_beats_its_mean_and_dressed_interpolation_where_it_was_not_trained(
    script, source, variable, tmp_path
):
    subprocess.run([EXAMPLES / script, DATA / source, tmp_path], check=True)
    scores = crps(tmp_path, variable)
    assert scores["ensemble"] < scores["regression"]
    assert scores["ensemble"] < scores["dressed interpolation"]
