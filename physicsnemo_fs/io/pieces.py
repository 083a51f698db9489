# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Finished pieces of an ensemble that is being generated, each whole or not there, and the file made of them.

A piece is recorded by one file, ``<name>.piece``: for NetCDF the compressed fields, one after the other as they come,
then JSON that says which fields it holds (place, bytes, checksum), then its length and checksum (:data:`TRAILER`). For
Zarr the fields lie in the folder that will be the result. A damaged piece counts as not there.
"""

import functools
import json
import logging
import os
import shutil
import struct
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from physicsnemo_fs.errors import InputError
from physicsnemo_fs.files import atomic_path, make_folder
from physicsnemo_fs.io import zarr_folder
from physicsnemo_fs.io.fields import Field, Place, round_bits
from physicsnemo_fs.io.layout import EnsembleSpec
from physicsnemo_fs.io.netcdf_file import NetCDFFile, deflate

logger = logging.getLogger(__name__)

SUFFIXES = (".nc", ".zarr")
TRAILER = struct.Struct("<QI")
"""The end of a piece's record: length and CRC-32 of the JSON before it."""


def require_format(output: Path) -> None:
    """Refuse names that are neither NetCDF nor Zarr."""
    if output.suffix not in SUFFIXES:
        raise InputError(f"the name of an ensemble must end in {' or '.join(SUFFIXES)}: got {output}")


class Pieces(ABC):
    """Pieces of one result, in a folder that every process sees.

    Args:
        folder: Where they lie.
        run: What they belong to.
        significant_bits: Mantissa bits kept of predicted values; ``None`` keeps all.
    """

    def __init__(self, folder: Path, run: str, significant_bits: int | None = None):
        self.folder, self.run, self.significant_bits = folder, run, significant_bits

    @abstractmethod
    def begin(self, spec: EnsembleSpec) -> None:
        """Prepare the folder."""

    @abstractmethod
    def unite(self, names: Sequence[str], spec: EnsembleSpec) -> Path:
        """Make the result of all pieces, synced to disk, still in the folder."""

    @abstractmethod
    def _put(self, file: BinaryIO, place: Place, field: np.ndarray) -> bytes:
        """Write a field, into its piece's file or beside it, and give its bytes."""

    @abstractmethod
    def _chunk(self, file: BinaryIO, place: Place, size: int) -> bytes:
        """Give the bytes of a field; its piece's file is open behind the field before."""

    def path(self, name: str) -> Path:
        """Give the path of a piece's record."""
        return self.folder / f"{name}.piece"

    def _rounded(self, fields: Iterable[Field]) -> Iterator[tuple[Place, Any]]:
        for place, field in fields:
            yield place, round_bits(field, self.significant_bits if place.group == "prediction" else None)

    def keep(self, name: str, fields: Iterable[Field]) -> int:
        """Record a finished piece, synced to disk; give its size in bytes. One field at a time is in memory."""
        chunks: list[list[Any]] = []
        with atomic_path(self.path(name)) as temporary, temporary.open("wb") as file:
            for place, field in self._rounded(fields):
                data = self._put(file, place, field)
                chunks.append([*place, len(data), zlib.crc32(data)])
            text = json.dumps({"run": self.run, "piece": name, "chunks": chunks}).encode()
            file.write(text + TRAILER.pack(len(text), zlib.crc32(text)))
        return sum(size for *_, size, _ in chunks)

    def is_whole(self, name: str, places: Iterable[Place]) -> bool:
        """Whether a piece is there, undamaged, and holds these places and no others."""
        path = self.path(name)
        if not path.exists():
            return False
        try:
            found = [place for place, _ in self._chunks(name)]
        except (ValueError, OSError) as error:
            logger.warning("%s is damaged (%s) and is made again", path.name, error)
            return False
        return sorted(found) == sorted(places)

    def _header(self, file: BinaryIO, name: str) -> list[tuple[Place, int, int]]:
        whole = file.seek(0, os.SEEK_END)
        if whole < TRAILER.size:
            raise ValueError("its record is cut off")
        file.seek(whole - TRAILER.size)
        length, checksum = TRAILER.unpack(file.read())
        start = whole - TRAILER.size - length
        file.seek(max(start, 0))
        text = file.read(min(length, whole))
        if start < 0 or zlib.crc32(text) != checksum:
            raise ValueError("its record does not have its checksum")
        file.seek(0)
        record = json.loads(text)
        if (record["run"], record["piece"]) != (self.run, name):
            raise ValueError("it belongs to another run")
        return [
            (Place(group, variable, tuple(index)), size, check)
            for group, variable, index, size, check in record["chunks"]
        ]

    def _chunks(self, name: str) -> Iterator[tuple[Place, bytes]]:
        """Give the fields of a piece, each checked.

        Raises:
            ValueError: If something is damaged or lost.
        """
        with self.path(name).open("rb") as file:
            for place, size, check in self._header(file, name):
                chunk = self._chunk(file, place, size)
                if len(chunk) != size or zlib.crc32(chunk) != check:
                    raise ValueError(f"{place.group}/{place.variable} at {place.position} is not what was written")
                yield place, chunk

    def _checked(self, names: Sequence[str]) -> Iterator[tuple[Place, bytes]]:
        for name in names:
            try:
                yield from self._chunks(name)
            except ValueError as error:
                self.path(name).unlink()
                raise InputError(
                    f"{self.path(name)} was damaged ({error}) and is removed; run the same command again"
                ) from error


class NetCDFPieces(Pieces):
    """Pieces of a NetCDF file: compressed chunks, copied into the file at the end."""

    def begin(self, spec: EnsembleSpec) -> None:
        """Prepare the folder."""
        make_folder(self.folder)

    def unite(self, names: Sequence[str], spec: EnsembleSpec) -> Path:
        """Make the file of all pieces, synced to disk, still in the folder."""
        path = self.folder / "whole.nc"
        with NetCDFFile(path, spec, self.significant_bits) as file:
            for place, chunk in self._checked(names):
                file.put(place, chunk)
            file.finish()
        sync(path)
        return path

    def _put(self, file: BinaryIO, place: Place, field: np.ndarray) -> bytes:
        data = deflate(field)
        file.write(data)
        return data

    def _chunk(self, file: BinaryIO, place: Place, size: int) -> bytes:
        return file.read(size)


class ZarrPieces(Pieces):
    """Pieces of a Zarr folder: their fields lie in it from the start."""

    @property
    def _store(self) -> Path:
        return self.folder / "whole.zarr"

    @functools.cached_property
    def _folder(self) -> zarr_folder.ZarrFolder:
        return zarr_folder.ZarrFolder(self._store)

    def begin(self, spec: EnsembleSpec) -> None:
        """Prepare the folder; the metadata is made anew."""
        make_folder(self.folder)
        fresh = self.folder / "metadata.zarr"
        zarr_folder.define(fresh, spec, self.significant_bits)
        for path in sorted(p for p in fresh.rglob("*") if p.is_file()):
            target = self._store / path.relative_to(fresh)
            make_folder(target.parent)
            os.replace(path, target)

    def unite(self, names: Sequence[str], spec: EnsembleSpec) -> Path:
        """Check all pieces and give the folder."""
        for _ in self._checked(names):
            pass
        zarr_folder.finish(self._store)
        for path in (p for p in self._store.rglob("zarr.json")):
            sync(path)
        return self._store

    def _put(self, file: BinaryIO, place: Place, field: np.ndarray) -> bytes:
        path = self._folder.put(place, field)
        sync(path)
        return path.read_bytes()

    def _chunk(self, file: BinaryIO, place: Place, size: int) -> bytes:
        return (self._store / zarr_folder.chunk_path(place)).read_bytes()


def pieces_for(output: Path, folder: Path, run: str, significant_bits: int | None = None) -> Pieces:
    """Give the kind of pieces that a result needs.

    Args:
        output: Name of the result, ``.nc`` or ``.zarr``.
        folder: Where the pieces lie.
        run: What the pieces belong to; those of another run count as not there.
        significant_bits: Mantissa bits kept of predicted values; ``None`` keeps all.

    Raises:
        InputError: If the name has another ending.
    """
    require_format(output)
    kind = NetCDFPieces if output.suffix == ".nc" else ZarrPieces
    return kind(folder, run, significant_bits)


def put_in_place(whole: Path, output: Path) -> None:
    """Give a whole result its name, for good."""
    if whole.is_dir():
        replace_folder(whole, output)
    else:
        os.replace(whole, output)
    sync(output.parent)


def replace_folder(new: Path, path: Path) -> None:
    """Give a folder its final name; one that has it already is removed at the last moment."""
    if path.exists():
        if not path.is_dir():
            raise InputError(f"an output folder must not be a file: {path} is one; choose another name")
        old = new.with_name(f"{new.name}.old")
        path.rename(old)
        new.rename(path)
        shutil.rmtree(old)
    else:
        new.rename(path)


def sync(path: Path) -> None:
    """Wait until a file is on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
