# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""A typed configuration from a command line: composed, checked, and mistakes told in one line."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir, initialize_config_module
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from physicsnemo_fs.config import (
    GROUPS,
    REPLACED_CONFIGS,
    REPLACED_KEYS,
    DemoConfig,
    PluginDatasetConfig,
    check_groups,
    check_values,
    is_known,
    known_keys,
    nearest,
    replacement,
)
from physicsnemo_fs.errors import InputError

CONFIG_MODULE = "physicsnemo_fs.conf"
ASKS_HYDRA = ("--help", "-h", "--hydra-help", "--cfg", "-c", "--info", "-i", "--version", "--multirun", "-m")


def _option(arguments: list[str], names: tuple[str, ...]) -> str | None:
    for position, argument in enumerate(arguments):
        name, _, value = argument.partition("=")
        if name in names:
            return value or (arguments[position + 1] if position + 1 < len(arguments) else None)
    return None


def _overrides(arguments: list[str]) -> list[str]:
    skip_next, found = False, []
    for argument in arguments:
        if skip_next:
            skip_next = False
        elif argument.startswith("-") and "=" not in argument:
            skip_next = argument in ("--config-name", "-cn", "--config-dir", "-cd", "--config-path", "-cp")
        elif not argument.startswith("-"):
            found.append(argument)
    return found


def explain(error: Exception, schema: type) -> str:
    """Turn Hydra's message into one line that names the nearest known key or choice."""
    text = str(error)
    if match := re.search(r"Could not (?:override|append to config|delete from config)[^']*'([^']+)'", text):
        return _unknown_key(match[1], schema)
    if match := re.search(r"Key '([^']+)' (?:is not in struct|not in)", text + str(error.__cause__)):
        return _unknown_key(match[1], schema)
    if match := re.search(r"Could not find '(\w+)/([^']+)'", text):
        from physicsnemo_fs.data.plugins import plugin_names

        options = (*GROUPS.get(match[1], {}), *(plugin_names() if match[1] == "dataset" else ()))
        return f"{match[1]}={match[2]} does not exist; choose one of {', '.join(options)}{nearest(match[2], options)}"
    if match := re.search(r"Cannot find primary config '([^']+)'", text):
        if instead := replacement(match[1], REPLACED_CONFIGS):
            return f"the configuration {match[1]} is replaced: {instead}"
        there = (path.name for path in files(CONFIG_MODULE).iterdir())
        names = tuple(sorted(name.removesuffix(".yaml") for name in there if name.startswith("config_")))
        return f"no configuration {match[1]}; there are {', '.join(names)}{nearest(match[1], names)}"
    cause = f": {str(error.__cause__).splitlines()[0]}" if error.__cause__ else ""
    return f"{text.splitlines()[0]}{cause}"


def _unknown_key(key: str, schema: type) -> str:
    if instead := replacement(key, REPLACED_KEYS):
        return f"the key {key} is replaced: {instead}"
    if key in known_keys(schema):
        return f"{key} is there already: write {key}=..., without +"
    return f"there is no configuration key {key}{nearest(key, known_keys(schema))}"


def to_config(composed: DictConfig, schema: type) -> Any:
    """Turn a composed configuration into its dataclass, refusing unknown keys, missing values and unknown choices.

    Raises:
        InputError: Naming the key.
    """
    for key in _leaves(OmegaConf.to_container(composed, resolve=False)):
        if not is_known(key, schema):
            raise InputError(_unknown_key(key, schema))
    missing = sorted(OmegaConf.missing_keys(composed))
    if missing:
        raise InputError(f"{missing[0]} must be given: add {missing[0]}=...")
    config = OmegaConf.to_object(composed)
    check_values(config)
    check_groups(config.train if isinstance(config, DemoConfig) else config)
    return config


def _leaves(node: Any, prefix: str = "") -> Iterator[str]:
    for key, value in node.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


def register_plugins(arguments: list[str]) -> None:
    """Make the installed plugins that ``dataset=<name>`` chooses known to Hydra, each with its own options.

    Raises:
        InputError: If a chosen plugin cannot be imported.
    """
    chosen = {value for key, _, value in (a.partition("=") for a in arguments) if key.split("@")[0] == "dataset"}
    if not chosen - set(GROUPS["dataset"]):
        return
    from physicsnemo_fs.data.plugins import load_plugin, plugin_names

    for name in chosen & set(plugin_names()) - set(GROUPS["dataset"]):
        options = OmegaConf.to_container(OmegaConf.structured(load_plugin(name).Options))
        node = OmegaConf.structured(PluginDatasetConfig(type=name, options=options))
        ConfigStore.instance().store(group="dataset", name=name, node=node)


@contextmanager
def _search_path(folder: str | None, chosen: str) -> Iterator[list[str]]:
    """Initialize Hydra where the primary configuration is; give the override that adds the other place."""
    if folder and Path(folder, f"{chosen}.yaml").is_file():
        with initialize_config_dir(str(Path(folder).resolve()), version_base="1.3"):
            yield [f"hydra.searchpath=[pkg://{CONFIG_MODULE}]"]
    else:
        with initialize_config_module(CONFIG_MODULE, version_base="1.3"):
            yield [f"hydra.searchpath=[file://{Path(folder).resolve()}]"] if folder else []


def check_composition(name: str, schema: type, arguments: list[str]) -> None:
    """Compose once before Hydra does, so that a mistake is told in our words."""
    if any(a.split("=")[0] in ASKS_HYDRA for a in arguments):
        return
    chosen = _option(arguments, ("--config-name", "-cn")) or f"config_{name}"
    overrides = _overrides(arguments)
    folder = _option(arguments, ("--config-dir", "-cd"))
    try:
        with _search_path(folder, chosen) as searched:
            compose(chosen, overrides=overrides + searched)
    except (HydraException, OmegaConfBaseException) as error:
        raise InputError(explain(error, schema)) from error
    finally:
        GlobalHydra.instance().clear()
