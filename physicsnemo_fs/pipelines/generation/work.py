# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""The folder of unfinished work beside a result: what was asked for, which pieces are finished, who is at work."""

import copy
import json
import logging
import shutil
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from physicsnemo_fs.data.recognition import SAMPLES, data_difference
from physicsnemo_fs.data.signature import NORMALISATION_TOLERANCE, first_difference
from physicsnemo_fs.errors import InputError
from physicsnemo_fs.files import exclusive, read_json, unwritable, write_json
from physicsnemo_fs.io.layout import EnsembleSpec
from physicsnemo_fs.io.pieces import Pieces, pieces_for, put_in_place
from physicsnemo_fs.io.reader import EnsembleFile
from physicsnemo_fs.pipelines.generation.plan import Piece, cut, value_bytes

logger = logging.getLogger(__name__)

LEAST_COMPRESSION = 8
"""Fields compress hardly ever better than so many times: with less room there is no point in beginning."""
NOT_CONTENT = {
    "": ("run_dir", "dry_run", "pretrained"),
    "generation": ("seed_batch_size", "max_patch_per_gpu", "ranks_per_member", "picture", "replace"),
    "generation.io": ("output_filename", "reg_ckpt_filename", "res_ckpt_filename"),
    "perf": ("num_threads", "longest_pause"),
}
"""Keys of the configuration that do not determine the result; the checkpoints are compared by their hashes."""


def content_of(provenance: Mapping[str, Any]) -> dict[str, Any]:
    """Give the part of a provenance that determines the result."""
    content = copy.deepcopy({k: v for k, v in provenance.items() if k not in ("batch", "patches", "python", SAMPLES)})
    for place, keys in NOT_CONTENT.items():
        section = content.get("config", {})
        for name in filter(None, place.split(".")):
            section = section.get(name, {})
        for key in keys:
            section.pop(key, None)
    return json.loads(json.dumps(content))


def difference_of(old: Mapping[str, Any], new: Mapping[str, Any]) -> str | None:
    """Name the first difference between what two provenances say of their results; data may have moved."""
    first, second = content_of(old), content_of(new)
    datasets = [content.get("config", {}).pop("dataset", {}) for content in (first, second)]
    return first_difference(first, second) or data_difference(
        datasets[0], datasets[1], old.get(SAMPLES), new.get(SAMPLES), "config.dataset"
    )


def is_finished(output: Path, provenance: Mapping[str, Any], replaces: bool) -> bool:
    """Whether a result of the same configuration and checkpoints is there.

    Args:
        output: The result.
        provenance: What it should say of itself. Without numbers of samples, data that has moved is no result yet.
        replaces: Whether something else may be replaced.

    Raises:
        InputError: If there is something else, which must not be replaced.
    """
    if not output.exists():
        return False
    try:
        with EnsembleFile(output) as file:
            there = file.provenance
        difference = difference_of(there, provenance)
        may_be_moved = difference and SAMPLES not in provenance
        if may_be_moved and difference_of({**there, SAMPLES: []}, {**provenance, SAMPLES: []}) is None:
            return False
    except InputError as error:
        difference = f"content ({error})"
    if difference is None:
        return True
    if not replaces:
        raise InputError(
            f"{output} is there, with another {difference}; choose another generation.io.output_filename, or add "
            "generation.replace=true"
        )
    return False


@dataclass(frozen=True)
class State:
    """What all processes must agree upon.

    Args:
        run: Name of this work, which its pieces carry.
        batch: Samples of a piece.
        finished: Numbers of the pieces that are there.
        provenance: What the result will say about itself.
    """

    run: str
    batch: int
    finished: tuple[int, ...]
    provenance: dict[str, Any]


class Work:
    """Unfinished work on one result.

    Args:
        output: The result.
        spec: What it will hold.
        significant_bits: Mantissa bits kept of predicted values; ``None`` keeps all.
    """

    def __init__(self, output: Path, spec: EnsembleSpec, significant_bits: int | None = None):
        self.output, self.spec, self._bits = output, spec, significant_bits
        self.folder = work_folder(output)
        self._record = self.folder / "run.json"

    def begin(self, content: dict[str, Any], batch: int, replaces: bool) -> State:
        """Begin, or continue what was begun.

        Args:
            content: What determines the result, beyond its provenance.
            batch: Samples of a piece, if there is nothing to continue.
            replaces: Whether work on another content is discarded.

        Raises:
            InputError: If there is work on something else, or too little room.
        """
        content = json.loads(json.dumps(content))
        begun = self._begun(content, replaces)
        if begun is None:
            self._clear()
            provenance = {**self.spec.provenance, "batch": batch}
            begun = {"run": uuid.uuid4().hex, "batch": batch, "content": content, "provenance": provenance}
        pieces = self._pieces(begun["run"])
        pieces.begin(self.spec)
        write_json(begun, self._record)
        todo = self.cut(begun["batch"])
        finished = tuple(p.number for p in todo if pieces.is_whole(p.name, p.places(self.spec)))
        self._require_room([p for p in todo if p.number not in finished])
        return State(begun["run"], begun["batch"], finished, begun["provenance"])

    def peek(self, content: dict[str, Any]) -> State | None:
        """Give what would be continued, writing nothing; ``None`` if there is nothing.

        Raises:
            InputError: If there is work on something else.
        """
        content = json.loads(json.dumps(content))
        begun = self._begun(content, replaces=False)
        if begun is None:
            return None
        pieces = self._pieces(begun["run"])
        finished = (p.number for p in self.cut(begun["batch"]) if pieces.is_whole(p.name, p.places(self.spec)))
        return State(begun["run"], begun["batch"], tuple(finished), begun["provenance"])

    def cut(self, batch: int) -> tuple[Piece, ...]:
        """Give all pieces."""
        members, times, *_ = self.spec.shape
        return cut(times, members, batch)

    def pieces(self, run: str) -> Pieces:
        """Give where finished pieces go.

        Raises:
            InputError: If this process does not see the folder that the main one made.
        """
        if not self._record.exists() or read_json(self._record).get("run") != run:
            raise InputError(
                f"all processes must see one folder: this one does not see {self._record}; put the output on a shared "
                "file system"
            )
        return self._pieces(run)

    def finish(self, state: State, replaces: bool) -> None:
        """Make the result of all pieces and remove the folder.

        Args:
            state: What :meth:`begin` gave.
            replaces: Whether something that has the result's name is replaced.

        Raises:
            InputError: If a piece is lost or damaged, the disk is full, or the name was taken meanwhile.
        """
        pieces = self._pieces(state.run)
        names = [piece.name for piece in self.cut(state.batch)]
        missing = [name for name in names if not pieces.path(name).exists()]
        if missing:
            raise InputError(f"{len(missing)} pieces are missing in {self.folder}; run the same command again")
        with told_if_unwritable(self.folder):
            whole = pieces.unite(names, replace(self.spec, provenance=state.provenance))
            if self.output.exists() and not replaces:
                raise InputError(
                    f"{self.output} was made by somebody else meanwhile; the work is kept: move that away, or add "
                    "generation.replace=true, and run the same command again"
                )
            put_in_place(whole, self.output)
        shutil.rmtree(self.folder)

    def _pieces(self, run: str) -> Pieces:
        return pieces_for(self.output, self.folder / "pieces", run, self._bits)

    def _begun(self, content: dict[str, Any], replaces: bool) -> dict[str, Any] | None:
        if not self._record.exists():
            return None
        try:
            begun = read_json(self._record)
            difference = difference_of(begun["provenance"], self.spec.provenance) or first_difference(
                {name: begun["content"].get(name) for name in content}, content, NORMALISATION_TOLERANCE
            )
            if not (isinstance(begun["run"], str) and isinstance(begun["batch"], int) and begun["batch"] > 0):
                raise TypeError("run or batch")
        except (InputError, KeyError, TypeError, AttributeError) as error:
            difference, begun = f"content (its run.json is damaged: {' '.join(str(error).split())[:80]})", None
        if difference is None:
            return begun
        if not replaces:
            raise InputError(
                f"{self.folder} holds unfinished work with another {difference}; give its configuration to continue, "
                "or add generation.replace=true to discard it"
            )
        return None

    def _clear(self) -> None:
        for path in self.folder.iterdir() if self.folder.exists() else ():
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name != "lock":
                path.unlink()

    def _require_room(self, pieces: Sequence[Piece]) -> None:
        copies = 2 if self.output.suffix == ".nc" else 1
        needed, free = copies * value_bytes(self.spec, pieces), shutil.disk_usage(self.folder).free
        if free < needed / LEAST_COMPRESSION:
            raise InputError(
                f"{self.folder.parent} must have room for {needed / 1e9:.3g} GB less what compression saves: "
                f"{free / 1e9:.3g} GB are free; make space or choose another generation.io.output_filename"
            )
        if free < needed:
            logger.warning(
                "%s has %.3g GB free for at most %.3g GB: the disk may become full", self.folder.parent, free / 1e9,
                needed / 1e9,
            )  # fmt: skip


def work_folder(output: Path) -> Path:
    """Give the folder of unfinished work on a result.

    Example:
        >>> work_folder(Path("out/samples.nc")).name
        '.samples.nc.generating'
    """
    return output.with_name(f".{output.name}.generating")


def claimed(output: Path):
    """Keep other commands from working on the same result, for the time of a ``with`` block.

    Raises:
        InputError: If one does.
    """
    return exclusive(work_folder(output) / "lock", f"one command generates {output.name}")


def clear_leftovers(output: Path) -> None:
    """Remove the folder that a kill in the last instant left beside a finished result."""
    folder = work_folder(output)
    if folder.exists():
        with suppress(InputError), claimed(output):
            shutil.rmtree(folder)


@contextmanager
def told_if_unwritable(folder: Path) -> Iterator[None]:
    """Turn errors of the operating system while writing into one line that says what is kept.

    Raises:
        InputError: In their place.
    """
    try:
        yield
    except OSError as error:
        raise unwritable(folder.parent, "finished members are kept", error) from error
