# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Reading the groups of an ensemble file by their meaning, however they are stored."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np

from physicsnemo_fs.data.types import Channel


class GroupReader(ABC):
    """Fields of the groups ``prediction``, ``truth``, ``regression`` and ``input``, a time at once."""

    @abstractmethod
    def _read(self, group: str, variable: str, time_index: int) -> np.ndarray: ...

    @abstractmethod
    def _attributes(self, group: str, variable: str) -> Mapping[str, Any]: ...

    def channel(self, variable: str, group: str = "prediction") -> Channel:
        """Give name, unit and long name of a variable."""
        attributes = self._attributes(group, variable)
        return Channel(
            variable,
            str(attributes.get("units", "1")),
            long_name=str(attributes.get("long_name", variable)),
            standard_name=str(attributes.get("standard_name", "")),
        )

    def prediction(self, variable: str, time_index: int) -> np.ndarray:
        """Give all members of one variable at one time, float32 ``[ensemble, y, x]``."""
        field = self._read("prediction", variable, time_index)
        return field if field.ndim == 3 else field[None]

    def truth(self, variable: str, time_index: int) -> np.ndarray:
        """Give the truth of one variable at one time, float32 ``[y, x]``."""
        return self._read("truth", variable, time_index)

    def regression(self, variable: str, time_index: int) -> np.ndarray:
        """Give the regression mean of one variable at one time, float32 ``[y, x]``."""
        return self._read("regression", variable, time_index)

    def input(self, variable: str, time_index: int) -> np.ndarray:
        """Give the coarse input on the output grid, float32 ``[y, x]``."""
        return self._read("input", variable, time_index)
