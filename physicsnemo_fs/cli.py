# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""The command line: ``physicsnemo-fs`` with its commands, and the same for the example scripts."""

import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hydra
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
    SCHEMAS,
    DemoConfig,
    PluginDatasetConfig,
    check_groups,
    check_values,
    is_known,
    known_keys,
    nearest,
    replacement,
)
from physicsnemo_fs.errors import START_AGAIN, InputError, RankLost, TrainingDiverged
from physicsnemo_fs.launchers import detect, leads

CONFIG_MODULE = "physicsnemo_fs.conf"
EXPECTED = (InputError, ValueError, OSError, TrainingDiverged, RankLost, HydraException, OmegaConfBaseException)
FLAGS = ("--dry-run", "--allow-white-latents")
"""Arguments that may stand for ``key=true``."""
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


def _explain(error: Exception, schema: type) -> str:
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
        names = tuple(f"config_{name}" for name in SCHEMAS)
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


@contextmanager
def one_line_errors(debug: bool) -> Iterator[None]:
    """Print expected errors as one line and exit with status 2; let them through when debugging."""
    try:
        yield
    except EXPECTED as error:
        if debug:
            raise
        print(f"{detect().prefix}error: {' '.join(str(error).split())}", file=sys.stderr)  # noqa: T201
        sys.exit(2)


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


def application(name: str, task: Callable[[Any], Any]) -> Callable[[], None]:
    """Make a Hydra application of a task.

    Args:
        name: Configuration: ``config_<name>`` with its schema.
        task: Takes the typed configuration.

    Returns:
        A function that reads ``sys.argv``; ``--debug`` or ``HYDRA_FULL_ERROR=1`` show tracebacks, ``FLAGS`` set the
        configuration's keys of their names.
    """
    schema = SCHEMAS[name]

    def run() -> None:
        if "--debug" in sys.argv:
            sys.argv.remove("--debug")
            os.environ["HYDRA_FULL_ERROR"] = "1"
        debug = os.environ.get("HYDRA_FULL_ERROR") == "1"
        sys.argv = [_quoted(_flag(argument, schema)) for argument in sys.argv]
        with one_line_errors(debug):
            register_plugins(sys.argv[1:])
            _check_composition(name, schema, sys.argv[1:])

        @hydra.main(version_base="1.3", config_path=f"pkg://{CONFIG_MODULE}", config_name=f"config_{name}")
        def entry(composed: DictConfig) -> None:
            with one_line_errors(debug):
                task(to_config(composed, schema))

        for number in (signal.SIGTERM, signal.SIGUSR1):
            signal.signal(number, _exit)
        entry()

    return run


def _quoted(argument: str) -> str:
    """Quote the entries of a list that hold an equals sign, which Hydra would not take for text.

    Example:
        >>> _quoted("dataset.target=[rain=tp,t2m]"), _quoted("dataset.target=[t2m]")
        ('dataset.target=["rain=tp",t2m]', 'dataset.target=[t2m]')
    """
    found = re.fullmatch(r"([^=\s]+)=\[([^\[\]{}'\"]*)\]", argument)
    if found is None or "=" not in found[2]:
        return argument
    entries = (f'"{entry.strip()}"' if "=" in entry else entry for entry in found[2].split(","))
    return f"{found[1]}=[{','.join(entries)}]"


def _flag(argument: str, schema: type) -> str:
    """Give the override that one of ``FLAGS`` stands for; any other argument as it is, and a flag without a key too.

    Example:
        >>> _flag("--dry-run", SCHEMAS["build"]), _flag("--allow-white-latents", SCHEMAS["export"])
        ('dry_run=true', 'allow_white_latents=true')
    """
    name = argument.removeprefix("--").replace("-", "_")
    keys = [key for key in known_keys(schema) if key.split(".")[-1] == name] if argument in FLAGS else []
    return f"{keys[0]}=true" if keys else argument


def _exit(number: int, frame: Any) -> None:
    """Leave as after an exception, so that half-written files are removed."""
    sys.exit(START_AGAIN)


@contextmanager
def _search_path(folder: str | None, chosen: str) -> Iterator[list[str]]:
    """Initialize Hydra where the primary configuration is; give the override that adds the other place."""
    if folder and Path(folder, f"{chosen}.yaml").is_file():
        with initialize_config_dir(str(Path(folder).resolve()), version_base="1.3"):
            yield [f"hydra.searchpath=[pkg://{CONFIG_MODULE}]"]
    else:
        with initialize_config_module(CONFIG_MODULE, version_base="1.3"):
            yield [f"hydra.searchpath=[file://{Path(folder).resolve()}]"] if folder else []


def _check_composition(name: str, schema: type, arguments: list[str]) -> None:
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
        raise InputError(_explain(error, schema)) from error
    finally:
        GlobalHydra.instance().clear()


def _train(config: Any) -> None:
    from physicsnemo_fs.pipelines.train import train as task

    task(config)


def _generate(config: Any) -> None:
    from physicsnemo_fs.pipelines.generate import generate_regions as task

    paths = task(config)
    if not config.dry_run and detect().rank == 0:
        print(*paths, sep="\n")  # noqa: T201


def _score(config: Any) -> None:
    from physicsnemo_fs.pipelines.scoring import run_score as task

    _leave(task(config))


def _compare(config: Any) -> None:
    from physicsnemo_fs.pipelines.compare import run_compare as task

    task(config)


def _merge(config: Any) -> None:
    from physicsnemo_fs.pipelines.merge import run_merge as task

    task(config)


def _picture(config: Any) -> None:
    from physicsnemo_fs.pipelines.video import picture as task

    print(task(config))  # noqa: T201


def _video(config: Any) -> None:
    from physicsnemo_fs.pipelines.video import video as task

    print(task(config))  # noqa: T201


def _leave(failed: int) -> None:
    """Exit with status 1 if some files failed."""
    if failed:
        sys.exit(1)


def _build(config: Any) -> None:
    from physicsnemo_fs.pipelines.build import build as task

    task(config)


def _export(config: Any) -> None:
    from physicsnemo_fs.export.package import export_package as task

    print(task(config).folder)  # noqa: T201


def _demo(config: Any) -> None:
    from physicsnemo_fs.local_ranks import run_ranks, worthwhile_ranks

    ranks = config.ranks or worthwhile_ranks(config.train.training.hp.total_batch_size)
    if ranks > 1 and not detect().launcher and not config.train.training.dry_run:
        run_ranks([sys.executable, "-m", "physicsnemo_fs.cli", "demo", *sys.argv[1:]], ranks)
        return
    from physicsnemo_fs.pipelines.demo import demo as task

    task(config)


def _on_one(what: str, task: Callable[[Any], None]) -> Callable[[Any], None]:
    """Let the first of a launcher's processes do a task, unless all of them are MPI's workers for it."""

    def work(config: Any) -> None:
        if _by_mpi(config) or leads(what):
            task(config)

    return work


def _by_mpi(config: Any) -> bool:
    automatic = getattr(config, "executor", "none") == "auto" and not config.dask_address
    wanted = automatic or getattr(config, "executor", "none") == "mpi"
    return wanted and detect().launcher == "mpirun" and not getattr(config, "dry_run", False)


def _positional(arguments: list[str]) -> list[str]:
    """Turn CorrDiff 2.x's ``IN OUT --n-ensemble N`` into keys; anything else stays as it is.

    Example:
        >>> _positional(["a.nc", "scores.nc", "--n-ensemble", "8"])
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


def _files(arguments: list[str]) -> list[str]:
    """Turn files that are named alone into ``path=[...]``.

    Example:
        >>> _files(["a.nc", "b.nc", "seed=1"])
        ['path=[a.nc,b.nc]', 'seed=1']
    """
    plain = [a for a in arguments if not a.startswith("-") and "=" not in a]
    rest = [a for a in arguments if a not in plain]
    return [f"path=[{','.join(plain)}]", *rest] if plain else rest


def _rewriting(rewrite: Callable[[list[str]], list[str]], run: Callable[[], None]) -> Callable[[], None]:
    def entry() -> None:
        with one_line_errors(debug="--debug" in sys.argv):
            sys.argv[1:] = rewrite(sys.argv[1:])
        run()

    return entry


train = application("train", _train)
generate = application("generate", _generate)
score = _rewriting(_positional, application("score", _on_one("scoring", _score)))
picture = application("picture", _on_one("drawing", _picture))
video = application("video", _on_one("drawing", _video))
compare = _rewriting(_files, application("compare", _on_one("comparing", _compare)))
merge = _rewriting(_files, application("merge", _on_one("merging", _merge)))
build = application("build", _on_one("building", _build))
export = application("export", _on_one("export", _export))
demo = application("demo", _demo)


def doctor() -> None:
    """Print devices, versions and the kernel backend in use."""
    from physicsnemo_fs.pipelines.doctor import report

    print(report())  # noqa: T201


COMMANDS: dict[str, Callable[[], None]] = {
    "train": train,
    "generate": generate,
    "score": score,
    "compare": compare,
    "merge": merge,
    "picture": picture,
    "video": video,
    "build": build,
    "export": export,
    "demo": demo,
    "doctor": doctor,
}


def main() -> None:
    """Run the command that the first argument names."""
    if len(sys.argv) < 2 or sys.argv[1] not in COMMANDS:
        given = sys.argv[1] if len(sys.argv) > 1 else ""
        hint = nearest(given, tuple(COMMANDS)) if given else ""
        print(f"usage: physicsnemo-fs {'|'.join(COMMANDS)} [key=value ...]{hint}", file=sys.stderr)  # noqa: T201
        sys.exit(2)
    command = sys.argv.pop(1)
    sys.argv[0] = f"physicsnemo-fs {command}"
    COMMANDS[command]()


if __name__ == "__main__":
    main()
