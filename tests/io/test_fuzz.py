# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Damaged files of ensembles, and damaged pieces of one: a clear error or the right values, and nothing is changed."""

import random
import shutil

import numpy as np
import pytest
from ensemble_files import make_fields, make_spec, write_file

from physicsnemo_fs.errors import InputError
from physicsnemo_fs.io.fields import fields_of
from physicsnemo_fs.io.pieces import pieces_for
from physicsnemo_fs.io.reader import EnsembleFile
from physicsnemo_fs.pipelines.score import score

MUTATIONS = 120


def damage(content, draws):
    """Change, remove or insert some bytes."""
    content = bytearray(content)
    at = draws.randrange(len(content))
    kind = draws.choice(["flip", "zero", "cut", "noise", "insert"])
    if kind == "flip":
        content[at] ^= 1 << draws.randrange(8)
    elif kind == "zero":
        content[at : at + 64] = bytes(len(content[at : at + 64]))
    elif kind == "cut":
        del content[at:]
    elif kind == "noise":
        content[at : at + 16] = draws.randbytes(len(content[at : at + 16]))
    else:
        content[at:at] = draws.randbytes(8)
    return bytes(content)


def fields(path):
    """Give all predictions and truths, or the error."""
    try:
        with EnsembleFile(path) as file:
            times = range(len(file.times))
            for variable in file.variables:
                file.channel(variable)
            return {
                (variable, index, read): getattr(file, read)(variable, index)
                for variable in file.variables
                for index in times
                for read in ("prediction", "truth")
            }
    except InputError as error:
        return str(error)


def scored(path, output):
    try:
        return score([path], output, quiet=True)
    except InputError as error:
        return str(error)


@pytest.mark.parametrize(("suffix", "mutations"), [(".nc", MUTATIONS), (".zarr", MUTATIONS // 3)])
def test_a_damaged_file_is_refused_or_read(suffix, mutations, tmp_path):
    path = write_file(tmp_path / f"whole{suffix}", make_spec())
    expected = fields(path)
    draws, refused = random.Random(5), 0
    for number in range(mutations):
        copy = tmp_path / f"copy{suffix}"
        (shutil.copytree if path.is_dir() else shutil.copyfile)(path, copy)
        files = sorted(p for p in copy.rglob("*") if p.is_file()) if path.is_dir() else [copy]
        victim = draws.choice(files)
        content = damage(victim.read_bytes(), draws)
        if path.is_dir() and number % 10 == 0:
            victim.unlink()
        else:
            victim.write_bytes(content)
        found = fields(copy)
        if isinstance(found, str):
            assert "\n" not in found
            refused += 1
        else:
            assert all(np.array_equal(found[key], expected[key]) for key in found.keys() & expected.keys()), number
            if number % 4 == 0:
                scored(copy, tmp_path / "scores")
        assert not victim.exists() or victim.read_bytes() == content
        (shutil.rmtree if path.is_dir() else type(copy).unlink)(copy)
    assert refused > mutations // 10


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_damaged_pieces_count_as_not_there(suffix, tmp_path):
    spec = make_spec()
    output = tmp_path / f"s{suffix}"
    pieces = pieces_for(output, tmp_path / "pieces", "a run")
    pieces.begin(spec)
    all_places = {}
    for time in range(3):
        given = make_fields(time, spec)
        fields = fields_of(spec, time, given.pop("prediction"), range(3), **given)
        all_places[f"{time}"] = [place for place, _ in fields]
        pieces.keep(f"{time}", fields)
    whole = {p: p.read_bytes() for p in sorted((tmp_path / "pieces").rglob("*")) if p.is_file()}
    data = [p for p in whole if p.name != "zarr.json" and ("prediction/" in str(p) or p.suffix == ".piece")]
    draws, found = random.Random(6), 0
    for _ in range(MUTATIONS):
        victim = draws.choice(
            [p for p in data if "prediction/seed" not in str(p) and "prediction/ensemble" not in str(p)]
        )
        victim.write_bytes(damage(whole[victim], draws))
        if victim.read_bytes() != whole[victim]:
            states = [pieces.is_whole(name, places) for name, places in all_places.items()]
            assert states.count(False) == 1
            found += 1
        victim.write_bytes(whole[victim])
    assert found > MUTATIONS * 0.9
    assert all(pieces.is_whole(name, places) for name, places in all_places.items())
    assert not pieces_for(output, tmp_path / "pieces", "another run").is_whole("0", all_places["0"])


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_a_piece_damaged_before_the_end_is_removed_by_name(suffix, tmp_path):
    spec = make_spec(times=make_spec().times[:1], blocks=np.array([1]))
    pieces = pieces_for(tmp_path / f"s{suffix}", tmp_path / "pieces", "a run")
    pieces.begin(spec)
    given = make_fields(0, spec)
    pieces.keep("0", fields_of(spec, 0, given.pop("prediction"), range(3), **given))
    path = pieces.path("0")
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    if suffix == ".zarr":
        next((tmp_path / "pieces").rglob("c/0/0/0/0")).write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"0\.piece was damaged .* run the same command again"):
        pieces.unite(["0"], spec)
    assert not path.exists()
