# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""What users may write on a command line, turned into Hydra's ``key=value``."""

import re

from physicsnemo_fs.config import known_keys
from physicsnemo_fs.errors import InputError

FLAGS = ("--dry-run", "--allow-white-latents")
"""Arguments that may stand for ``key=true``."""


def flag(argument: str, schema: type) -> str:
    """Give the override that one of ``FLAGS`` stands for; any other argument as it is, and a flag without a key too.

    Example:
        >>> from physicsnemo_fs.config import SCHEMAS
        >>> flag("--dry-run", SCHEMAS["build"]), flag("--allow-white-latents", SCHEMAS["export"])
        ('dry_run=true', 'allow_white_latents=true')
    """
    name = argument.removeprefix("--").replace("-", "_")
    keys = [key for key in known_keys(schema) if key.split(".")[-1] == name] if argument in FLAGS else []
    return f"{keys[0]}=true" if keys else argument


def quoted(argument: str) -> str:
    """Quote the entries of a list that hold an equals sign, which Hydra would not take for text.

    Example:
        >>> quoted("dataset.target=[rain=tp,t2m]"), quoted("dataset.target=[t2m]")
        ('dataset.target=["rain=tp",t2m]', 'dataset.target=[t2m]')
    """
    found = re.fullmatch(r"([^=\s]+)=\[([^\[\]{}'\"]*)\]", argument)
    if found is None or "=" not in found[2]:
        return argument
    entries = (f'"{entry.strip()}"' if "=" in entry else entry for entry in found[2].split(","))
    return f"{found[1]}=[{','.join(entries)}]"


def positional(arguments: list[str]) -> list[str]:
    """Turn CorrDiff 2.x's ``IN OUT --n-ensemble N`` into keys; anything else stays as it is.

    Example:
        >>> positional(["a.nc", "scores.nc", "--n-ensemble", "8"])
        ['path=a.nc', 'output=scores.nc', 'max_members=8']
    """
    if any(argument.startswith(("--config", "-c")) for argument in arguments):
        return arguments
    plain: list[str] = []
    keys: list[str] = []
    rest = iter(arguments)
    for argument in rest:
        name, _, value = argument.partition("=")
        if name in ("--n-ensemble", "--n_ensemble"):
            count = value or next(rest, "")
            if not re.fullmatch(r"-?\d+", count):
                raise InputError(f"--n-ensemble must be a number of members: got {count!r}; -1 takes all")
            keys += [f"max_members={count}"] if int(count) > 0 else []
        elif argument.startswith("-") or "=" in argument:
            keys.append(argument)
        else:
            plain.append(argument)
    if not plain:
        return keys
    if len(plain) < 2:
        raise InputError(f"scoring needs path=... output=..., or two files IN OUT: got {plain[0]}")
    paths = plain[0] if len(plain) == 2 else f"[{','.join(plain[:-1])}]"
    return [f"path={paths}", f"output={plain[-1]}", *keys]


def files_as_path(arguments: list[str]) -> list[str]:
    """Turn files that are named alone into ``path=[...]``.

    Example:
        >>> files_as_path(["a.nc", "b.nc", "seed=1"])
        ['path=[a.nc,b.nc]', 'seed=1']
    """
    plain = [a for a in arguments if not a.startswith("-") and "=" not in a]
    rest = [a for a in arguments if a not in plain]
    return [f"path=[{','.join(plain)}]", *rest] if plain else rest
