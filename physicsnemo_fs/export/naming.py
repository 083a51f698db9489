# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""What earth2studio calls a variable, and in which unit."""

import logging
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

from physicsnemo_fs.config.keys import nearest
from physicsnemo_fs.data.types import Channel
from physicsnemo_fs.data.vocabulary import UNITS, conversion, same_unit
from physicsnemo_fs.data.warps import Identity
from physicsnemo_fs.errors import InputError
from physicsnemo_fs.export.package_model import PackageModel, Variable
from physicsnemo_fs.io.layout import OTHER_FRAME

log = logging.getLogger(__name__)


def has_earth2studio() -> bool:
    """Give whether earth2studio is installed."""
    return "earth2studio" in sys.modules or find_spec("earth2studio") is not None


def vocabulary() -> set[str]:
    """Give the names that earth2studio knows: its own where it is installed, else those of version 0.19."""
    if not has_earth2studio():
        return set(UNITS)
    from earth2studio.lexicon.base import E2STUDIO_VOCAB

    return set(E2STUDIO_VOCAB) | set(UNITS)


def named(
    channels: Sequence[Channel],
    names: Mapping[str, str],
    units: Mapping[str, str],
    known: set[str],
) -> tuple[Variable, ...]:
    """Give the variables as earth2studio knows them.

    Args:
        channels: Channels of the networks.
        names: earth2studio's names of channels that have others here.
        units: Units of channels whose data does not say them.
        known: earth2studio's vocabulary.

    Raises:
        InputError: If a name or a unit is not earth2studio's and nothing says what to do about it.
    """
    variables = tuple(_named(channel, names, units, known) for channel in channels)
    given = [variable.name for variable in variables]
    if len(set(given)) < len(given):
        raise InputError(f"variables must have different names in earth2studio: got {', '.join(given)}; correct names")
    return variables


def _named(channel: Channel, names: Mapping[str, str], units: Mapping[str, str], known: set[str]) -> Variable:
    if OTHER_FRAME.search(channel.name):
        raise InputError(
            f"a CorrDiff package has the fields of one time: got the input {channel.name!r} of another; train with "
            "dataset.window_size=0"
        )
    if channel.name.endswith("_known"):
        raise InputError(
            f"a CorrDiff package has no masks: got the input {channel.name!r}; train with a value for missing ones, "
            f"dataset.missing={{{channel.name.removesuffix('_known')}: 0}}"
        )
    name = names.get(channel.name, channel.name)
    if name not in known and channel.name not in names:
        raise InputError(
            f"earth2studio has no variable {name!r}{nearest(name, sorted(known))}; say its name there, "
            f"names={{{channel.name}: ...}}, or names={{{channel.name}: {channel.name}}} for a variable of your own "
            "files"
        )
    if name not in known:
        log.warning("%s is not in earth2studio's vocabulary: only files of your own can give or take it", name)
    if channel.name in units:
        channel = replace(channel, unit=units[channel.name])
    return _with_unit(name, channel)


def _with_unit(name: str, channel: Channel) -> Variable:
    wanted = UNITS.get(name)
    if wanted is None:
        log.warning("the unit of %s is taken as it is, %s: earth2studio's is not known here", name, channel.unit)
        return Variable(name, channel)
    change = conversion(channel.unit, wanted)
    if change is None:
        raise InputError(
            f"{name} is in {wanted} in earth2studio: the networks have {channel.name} in {channel.unit!r}; say its "
            f"unit, units={{{channel.name}: {wanted}}}, or train on data in {wanted}"
        )
    return Variable(name, channel, change)


def package_unit(variable: Variable) -> str:
    """Give the unit in which a package takes and gives a variable."""
    return UNITS.get(variable.name, same_unit(variable.channel.unit))


def package_channel(variable: Variable) -> Channel:
    """Give the channel in earth2studio's unit and under its name.

    A warped one keeps the training's unit, in which its warp was taken, and the statistics of its warp.
    """
    channel, change = variable.channel, variable.conversion
    if not isinstance(channel.warp, Identity):
        return replace(channel, name=variable.name)
    lowest = None if channel.minimum is None else change(channel.minimum)
    return replace(
        channel,
        name=variable.name,
        unit=package_unit(variable),
        mean=change(channel.mean),
        std=channel.std * change.scale,
        minimum=lowest,
    )


def statistics(model: PackageModel) -> dict[str, Any]:
    """Give ``stats.json``: mean and standard deviation of every variable in earth2studio's unit, or of its warp."""
    kinds = {"input": model.inputs, "output": model.outputs, "invariants": model.statics}
    return {
        kind: {c.name: {"mean": float(c.mean), "std": float(c.std)} for c in map(package_channel, variables)}
        for kind, variables in kinds.items()
    }
