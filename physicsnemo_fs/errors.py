# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Errors that a user can act on."""


class InputError(ValueError):
    """Something the user gave (path, key, file, grid, checkpoint) does not fit.

    The message is one line: what must hold, what arrived, what to do. The command line prints it without
    a traceback and exits with status 2.
    """


class TrainingDiverged(RuntimeError):
    """The loss or the gradient is not finite."""
