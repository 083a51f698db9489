# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Making a network from what its checkpoint says, for classes of trusted packages only.

PhysicsNeMo's own ``from_checkpoint`` imports any module that a file names, takes any class that some package
registered under its name, and reads a file that is a tar archive too as that.
"""

import importlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from physicsnemo.core.module import Module
from physicsnemo.core.registry import ModelRegistry
from torch.overrides import TorchFunctionMode

from physicsnemo_fs.errors import InputError

TRUSTED_PACKAGES = ("physicsnemo", "physicsnemo_fs")
NESTED = "__physicsnemo.Module__"
DESCRIPTION = {"__name__": str, "__module__": str, "__args__": dict}
OLD_NAME = "modulus"
CALLS_ITS_ARGUMENTS = "physicsnemo.models.dlwp_healpix"
"""Networks whose constructors import and call whatever their arguments name (``hydra.utils.instantiate``)."""
CALL = "_target_"
"""Key that names what Hydra is to call."""
INTERPOLATION = "${"
ROOM = 2**18
FACTORIES = (torch.empty, torch.zeros, torch.ones, torch.full, torch.rand, torch.randn, torch.arange)


class NetworkBuilder:
    """Builds the network that ``args.json`` and ``metadata.json`` of a checkpoint describe.

    Args:
        arguments: Content of ``args.json``: name, module and arguments of the class, and the same for nested networks.
        metadata: Content of ``metadata.json``.
        name: What to call the checkpoint in messages.
        trusted: Packages that classes may come from besides physicsnemo and physicsnemo_fs.
        values: Values that the checkpoint holds; a network of very many more is refused while it is made.
    """

    def __init__(
        self, arguments: dict[str, Any], metadata: dict[str, Any], name: str, trusted: Sequence[str], values: int
    ):
        self.arguments, self.metadata, self.name = arguments, metadata, name
        self.trusted = (*TRUSTED_PACKAGES, *trusted)
        self.values = values

    def check(self) -> str:
        """Refuse classes of packages that are not trusted, before anything is imported; give the class's name.

        Arguments that name something to be called are refused too, whatever class takes them.

        Raises:
            InputError: Naming the class and its package.
        """
        if _calls(self.arguments):
            raise InputError(
                f"{self.name} is refused: its arguments name something to be called; use another checkpoint"
            )
        nested = [value for key, value in self.arguments.items() if key.startswith(NESTED)]
        for entry in (self.arguments, *nested):
            if not isinstance(entry, dict) or not all(isinstance(entry.get(k), t) for k, t in DESCRIPTION.items()):
                raise InputError(f"{self.name} does not say which network it holds; use another checkpoint")
        for entry in _described(self.arguments):
            self._require_trusted(str(entry.get("__name__")), str(entry.get("__module__")))
        return str(self.arguments["__name__"])

    def build(self) -> Module:
        """Make the network with its initial weights.

        Raises:
            InputError: If a class is missing, is no network, or does not take these arguments.
        """
        try:
            with _Bounded(4 * self.values + ROOM, self.name):
                return self._make("", self.arguments)
        except Exception as error:  # constructors raise whatever an argument of another type or size leads to
            if isinstance(error, InputError) and str(error).startswith(self.name):
                raise
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise InputError(f"{self.name} cannot be loaded: its arguments make no network: {reason}") from error

    def _make(self, prefix: str, entry: dict[str, Any]) -> Module:
        kind = self._class(entry["__name__"], entry["__module__"])
        arguments = dict(self._mapped(kind, prefix, entry["__args__"]))
        for name, value in arguments.items():
            if isinstance(value, str) and value.startswith(NESTED):
                inner = f"{prefix or NESTED}.{name}"
                if value != inner or inner not in self.arguments:
                    raise InputError(f"{self.name} is damaged: argument {name!r} names the network {value!r}")
                arguments[name] = self._make(inner, self.arguments[inner])
        return kind(**arguments)

    def _mapped(self, kind: type[Module], prefix: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """Give the arguments as this version of the class names them."""
        here = kind.__model_checkpoint_version__
        there = self.metadata.get(f"{prefix}.mdlus_file_version" if prefix else "mdlus_file_version", here)
        if there == here:
            return arguments
        if there not in kind.__supported_model_checkpoint_version__:
            raise InputError(f"{self.name} holds a {kind.__name__} of version {there!r}; {here} is needed here")
        return kind._backward_compat_arg_mapper(there, dict(arguments))

    def _require_trusted(self, name: str, module: str) -> None:
        package = module.split(".")[0]
        known = package in self.trusted or package == OLD_NAME
        if not known or not all(part.isidentifier() for part in (name, *module.split("."))):
            raise InputError(
                f"{self.name} asks for class {name!r} of the package {package!r}, which is not trusted; only "
                f"{' and '.join(self.trusted)} are. If you trust it, add trusted_packages=[{package}]"
            )
        if module.startswith(CALLS_ITS_ARGUMENTS):
            raise InputError(f"{self.name} asks for {name}, which would call what the checkpoint names; it is refused")

    def _class(self, name: str, module: str) -> type[Module]:
        """Import the class that a name and a module mean: the registered one of that name, if a trusted package's."""
        registered = ModelRegistry()._model_registry.get(name)
        origin = getattr(registered, "module", None) or getattr(registered, "__module__", None)
        if origin is not None and str(origin).split(".")[0] in self.trusted:
            found = ModelRegistry().factory(name)
        else:
            if module.split(".")[0] == OLD_NAME:
                module = "physicsnemo" + module.removeprefix(OLD_NAME)
            try:
                found = getattr(importlib.import_module(module), name)
            except (ImportError, AttributeError) as error:
                raise InputError(f"{self.name} asks for {module}.{name}, which is not there ({error})") from error
        if not isinstance(found, type) or not issubclass(found, Module):
            raise InputError(f"{self.name} asks for {module}.{name}, which is no network; use another checkpoint")
        self._require_trusted(found.__name__, found.__module__)
        return found


def _calls(value: Any) -> bool:
    """Tell whether a value holds, at any depth, what Hydra would call or resolve."""
    if isinstance(value, dict):
        return any(CALL in key or _calls(entry) for key, entry in value.items())
    if isinstance(value, list):
        return any(map(_calls, value))
    return isinstance(value, str) and INTERPOLATION in value


def _described(value: Any) -> Iterator[dict[str, Any]]:
    """Give every description of a network, at any depth."""
    if isinstance(value, dict):
        if not value.keys().isdisjoint(DESCRIPTION):
            yield value
        for entry in value.values():
            yield from _described(entry)
    elif isinstance(value, list):
        for entry in value:
            yield from _described(entry)


class _Bounded(TorchFunctionMode):
    """Refuses to make tensors of more values, one with another, than a network could need."""

    def __init__(self, most: int, name: str):
        super().__init__()
        self.left, self.name = most, name

    def __torch_function__(self, function, types, arguments=(), options=None):
        options = options or {}
        if function in FACTORIES:
            self.left -= self._values(function, arguments, options)
            if self.left < 0:
                raise InputError(
                    f"{self.name} is damaged: its arguments make a network far larger than its weights; use another "
                    "checkpoint"
                )
        return function(*arguments, **options)

    @staticmethod
    def _values(function, arguments, options) -> int:
        if function is torch.arange:
            return max((abs(int(a)) for a in arguments if isinstance(a, int | float)), default=0)
        shape = options.get("size", arguments[0] if arguments and not isinstance(arguments[0], int) else arguments)
        count = 1
        for length in shape:
            count *= int(length)
        return abs(count)
