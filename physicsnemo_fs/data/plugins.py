# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Datasets of others: found by entry point or by a dotted name that the user gives, never by a stored one."""

import importlib
import importlib.util
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol, runtime_checkable

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from physicsnemo_fs.data.opening import Opening
from physicsnemo_fs.data.types import DownscalingDataset
from physicsnemo_fs.errors import InputError

GROUP = "physicsnemo_fs.datasets"
"""Entry-point group: ``name = "package.module:Plugin"``."""


@runtime_checkable
class DatasetPlugin(Protocol):
    """A dataset that lives outside this package.

    Attributes:
        Options: A dataclass: the plugin's configuration keys with their types and defaults.
    """

    Options: type

    def open(self, options: Any, opening: Opening) -> DownscalingDataset:
        """Open a split; ``options`` is an instance of :attr:`Options`."""
        ...


def plugin_names() -> tuple[str, ...]:
    """Give the names of the installed plugins, without importing them."""
    return tuple(sorted(point.name for point in entry_points(group=GROUP)))


def load_plugin(name: str) -> DatasetPlugin:
    """Import a plugin.

    Args:
        name: An installed plugin's name, ``package.module:Plugin``, or ``path/to/file.py:Plugin``.

    Raises:
        InputError: If there is none of that name, it cannot be imported, or it is no plugin.

    Example:
        >>> load_plugin("no.such.module:Waves")
        Traceback (most recent call last):
        ...
        physicsnemo_fs.errors.InputError: no.such.module:Waves cannot be imported: No module named 'no'; ...
    """
    points = {point.name: point for point in entry_points(group=GROUP)}
    if name not in points and ":" not in name:
        raise InputError(
            f"no dataset plugin is named {name!r}: installed are {', '.join(points) or 'none'}; give "
            "dataset.type=package.module:Plugin or path/to/file.py:Plugin"
        )
    try:
        plugin = points[name].load() if name in points else _from_reference(name)
    except (ImportError, AttributeError, SyntaxError) as error:
        raise InputError(f"{name} cannot be imported: {error}; check dataset.type and the Python path") from error
    plugin = plugin() if isinstance(plugin, type) else plugin
    if not isinstance(plugin, DatasetPlugin) or not is_dataclass(plugin.Options):
        raise InputError(
            f"{name} must be a dataset plugin, with a dataclass Options and a method open(options, opening): it is a "
            f"{type(plugin).__name__}"
        )
    return plugin


def _from_reference(reference: str) -> Any:
    place, _, attribute = reference.rpartition(":")
    place = place.rstrip(":")
    module = _from_file(Path(place)) if place.endswith(".py") else importlib.import_module(place)
    return getattr(module, attribute)


def _from_file(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if not path.is_file() or spec is None or spec.loader is None:
        raise ImportError(f"no such file: {path}")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def plugin_options(plugin: DatasetPlugin, given: Mapping[str, Any]) -> Any:
    """Give the plugin's options: its defaults with the given values, checked against its dataclass.

    Raises:
        InputError: If an option is unknown, missing or of another type.
    """
    try:
        merged = OmegaConf.merge(OmegaConf.structured(plugin.Options), dict(given))
        missing = sorted(OmegaConf.missing_keys(merged))
        if missing:
            raise InputError(f"{missing[0]} must be given: add +dataset.options.{missing[0]}=...")
        return OmegaConf.to_object(merged)
    except OmegaConfBaseException as error:
        known = ", ".join(f.name for f in fields(plugin.Options))
        raise InputError(f"dataset.options: {str(error).splitlines()[0]}; the options are {known or 'none'}") from error
