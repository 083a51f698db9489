# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Errors that a user can act on."""

START_AGAIN = 75
"""Exit status of a command that SIGTERM or SIGUSR1 stopped: EX_TEMPFAIL of sysexits.h. The same command continues."""


class InputError(ValueError):
    """Something the user gave (path, key, file, grid, checkpoint) does not fit.

    The message is one line: what must hold, what arrived, what to do. The command line prints it without
    a traceback and exits with status 2.
    """


class TrainingDiverged(RuntimeError):
    """The loss or the gradient is not finite."""


class RankLost(RuntimeError):
    """Another process of this run ended, or does not answer."""
