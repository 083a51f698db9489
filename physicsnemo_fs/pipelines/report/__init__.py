# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""The report of a run: one HTML page that needs nothing else."""

from physicsnemo_fs.pipelines.report.writing import write_report

__all__ = ["write_report"]
