# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Scores of the examples on real files, on regions that were not trained on, with the CPU time of each example.

python benchmarks/real_data.py --data FOLDER --work outputs/real --output benchmarks/results/real_data_<date>.csv

Folders of finished examples in ``--work`` are read as they are; what is missing is done first.
"""

import argparse
import csv
import json
import resource
import subprocess
from pathlib import Path

from timing import cpu_name, provenance, versions, write_rows

EXAMPLES = Path(__file__).parents[1] / "examples" / "corrdiff_fs"
SOURCES = {"mrms": "mrms", "era5": "era5-2mt-2019-03-uk.grib"}
METRICS = ("crps_fair", "crps_ratio", "mae", "rmse", "spread_skill", "spectrum_error_mean")
COLUMNS = ("model", "variable", "metric", "value", "ci_lo", "ci_hi", "n_times", "n_members")


def run(example: str, data: Path, folder: Path) -> float:
    """Do an example unless it is finished, and give the minutes of processor time that it took."""
    record = folder / "cpu_minutes.json"
    if not record.exists():
        before = cpu_seconds()
        subprocess.run([EXAMPLES / f"{example}.sh", data / SOURCES[example], folder], check=True)  # noqa: S603
        record.write_text(json.dumps((cpu_seconds() - before) / 60))
    return json.loads(record.read_text())


def cpu_seconds() -> float:
    """Give the processor time of finished children."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def scores(folder: Path) -> list[dict]:
    """Give the scores of an example that are finite."""
    with open(folder / "scores" / "scores_summary.csv", encoding="utf-8") as stream:
        rows = [{name: row[name] for name in COLUMNS} for row in csv.DictReader(stream) if row["metric"] in METRICS]
    return [row for row in rows if row["value"] != "nan"]


def main() -> None:
    """Run what is missing and write the scores."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the files")
    parser.add_argument("--work", type=Path, required=True, help="folder of the examples' results")
    parser.add_argument("--output", type=Path, required=True, help="the CSV to write")
    arguments = parser.parse_args()
    context = {**provenance(), "cpu": cpu_name(), **versions()}
    rows = []
    for example in SOURCES:
        minutes = run(example, arguments.data, arguments.work / example)
        rows += [
            {"example": example, **row, "cpu_minutes": round(minutes, 1), **context}
            for row in scores(arguments.work / example)
        ]
    write_rows(arguments.output, rows)


if __name__ == "__main__":
    main()
