# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""The command line: ``physicsnemo-fs`` with its commands, and the same for the example scripts."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import hydra
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from physicsnemo_fs.arguments import files_as_path, flag, positional, quoted
from physicsnemo_fs.composition import CONFIG_MODULE, check_composition, register_plugins, to_config
from physicsnemo_fs.config import SCHEMAS, nearest
from physicsnemo_fs.errors import START_AGAIN, InputError, RankLost, TrainingDiverged
from physicsnemo_fs.launchers import detect, leads

EXPECTED = (InputError, ValueError, OSError, TrainingDiverged, RankLost, HydraException, OmegaConfBaseException)


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


def application(name: str, task: Callable[[Any], Any]) -> Callable[[], None]:
    """Make a Hydra application of a task.

    Args:
        name: Configuration: ``config_<name>`` with its schema.
        task: Takes the typed configuration.

    Returns:
        A function that reads ``sys.argv``; ``--debug`` or ``HYDRA_FULL_ERROR=1`` show tracebacks,
        ``arguments.FLAGS`` set the configuration's keys of their names.
    """
    schema = SCHEMAS[name]

    def run() -> None:
        if "--debug" in sys.argv:
            sys.argv.remove("--debug")
            os.environ["HYDRA_FULL_ERROR"] = "1"
        debug = os.environ.get("HYDRA_FULL_ERROR") == "1"
        sys.argv = [quoted(flag(argument, schema)) for argument in sys.argv]
        with one_line_errors(debug):
            register_plugins(sys.argv[1:])
            check_composition(name, schema, sys.argv[1:])

        @hydra.main(version_base="1.3", config_path=f"pkg://{CONFIG_MODULE}", config_name=f"config_{name}")
        def entry(composed: DictConfig) -> None:
            with one_line_errors(debug):
                task(to_config(composed, schema))

        for number in (signal.SIGTERM, signal.SIGUSR1):
            signal.signal(number, _exit)
        entry()

    return run


def _exit(number: int, frame: Any) -> None:
    """Leave as after an exception, so that half-written files are removed."""
    sys.exit(START_AGAIN)


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


def _rewriting(rewrite: Callable[[list[str]], list[str]], run: Callable[[], None]) -> Callable[[], None]:
    def entry() -> None:
        with one_line_errors(debug="--debug" in sys.argv):
            sys.argv[1:] = rewrite(sys.argv[1:])
        run()

    return entry


train = application("train", _train)
generate = application("generate", _generate)
score = _rewriting(positional, application("score", _on_one("scoring", _score)))
picture = application("picture", _on_one("drawing", _picture))
video = application("video", _on_one("drawing", _video))
compare = _rewriting(files_as_path, application("compare", _on_one("comparing", _compare)))
merge = _rewriting(files_as_path, application("merge", _on_one("merging", _merge)))
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
