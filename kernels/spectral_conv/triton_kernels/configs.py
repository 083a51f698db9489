# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Tile sizes from a fixed table, keyed by the name of the GPU: nothing is tuned while a model runs."""

import functools
import json
import re
from pathlib import Path
from typing import NamedTuple

import torch

TABLE = Path(__file__).with_name("configs.json")


class TileConfig(NamedTuple):
    """The largest tile of a transform, all powers of two.

    ``lines`` (h, plane) times ``width`` points; ``rows`` of mode pairs times ``columns`` k2, as many planes side by
    side as fit into ``across`` columns.
    """

    lines: int
    width: int
    rows: int
    columns: int
    across: int
    num_warps: int
    num_stages: int


class ProductConfig(NamedTuple):
    """The largest tile of one complex matrix product, ``rows x inner`` times ``inner x columns``."""

    rows: int
    columns: int
    inner: int
    num_warps: int
    num_stages: int


class ConcatenatedConfig(NamedTuple):
    """The largest tile of the inverse with a pointwise map: ``channels`` times ``width``, summed over ``inner``."""

    channels: int
    inner: int
    width: int
    num_warps: int
    num_stages: int


def tile_config(kernel: str, dtype: torch.dtype, exact: bool, device: torch.device) -> TileConfig:
    """Give the entry of "analysis" or "synthesis" for grid values of ``dtype``.

    Example:
        >>> tile_config("analysis", torch.bfloat16, False, torch.device("cpu")).num_warps > 0
        True
    """
    return TileConfig(**entry(device)[kernel][_operand(dtype, exact)])


def product_config(exact: bool, device: torch.device) -> ProductConfig:
    """Give the entry of the mode mixing.

    Example:
        >>> product_config(True, torch.device("cpu")).num_warps > 0
        True
    """
    return ProductConfig(**entry(device)["product"]["exact" if exact else "tf32"])


def concatenated_config(dtype: torch.dtype, exact: bool, device: torch.device) -> ConcatenatedConfig:
    """Give the entry of the inverse with a pointwise map for grid values of ``dtype``.

    Example:
        >>> concatenated_config(torch.float16, False, torch.device("cpu")).num_warps > 0
        True
    """
    return ConcatenatedConfig(**entry(device)["concatenated"][_operand(dtype, exact)])


def _operand(dtype: torch.dtype, exact: bool) -> str:
    return ("exact" if exact else "tf32") if dtype == torch.float32 else "half"


@functools.cache
def entry(device: torch.device) -> dict[str, dict[str, dict[str, int]]]:
    """Give the entry of a device, the default one where its GPU has none; one dictionary, which a tuner may change."""
    table = json.loads(TABLE.read_text())
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "default"
    return table["default"] | table.get(name, {})


def write_entry(name: str, own: dict[str, dict[str, dict[str, int]]]) -> None:
    """Add or replace the entry of a GPU in the table, one line for each configuration."""
    table = json.loads(TABLE.read_text()) | {name: own}
    text = json.dumps(table, indent=2)
    TABLE.write_text(re.sub(r"\{\s+([^{}]+?)\s+\}", lambda match: "{" + " ".join(match[1].split()) + "}", text) + "\n")
