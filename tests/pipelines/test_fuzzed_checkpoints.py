# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Mutated checkpoints: each is refused in one line, or gives what the whole one gives; none is changed."""

import json
import random
import struct
import zipfile
import zlib
from collections import Counter

import pytest
import torch

from physicsnemo_fs.errors import InputError
from physicsnemo_fs.models.fsuno import FSUNO
from physicsnemo_fs.models.regression import FSRegressionSR
from physicsnemo_fs.pipelines.checkpoints import load_network, save_network
from physicsnemo_fs.pipelines.training_state import load_state, save_state

MUTANTS = 150
"""Of each kind of file."""
ODD = [None, True, -1, 0, 1, 3, 10**9, 2**70, 1e308, float("nan"), "", "x", "evil", [], [1], {}, {"a": 1}, "\ud800"]


def flip(content, draws, entries):
    changed = bytearray(content)
    for _ in range(draws.choice([1, 1, 8, 200])):
        changed[draws.randrange(len(changed))] ^= 1 << draws.randrange(8)
    return bytes(changed)


def flip_directory(content, draws, entries):
    """Change the zip directory at the end, where sizes, offsets and methods stand."""
    changed = bytearray(content)
    for _ in range(draws.randrange(1, 5)):
        changed[-draws.randrange(1, min(400, len(changed)))] = draws.randrange(256)
    return bytes(changed)


def cut(content, draws, entries):
    return content[: draws.randrange(len(content))]


def cut_front(content, draws, entries):
    return content[draws.randrange(1, len(content)) :]


def append(content, draws, entries):
    return content + draws.randbytes(draws.choice([1, 100, 70_000]))


def prepend(content, draws, entries):
    return draws.randbytes(draws.randrange(1, 200)) + content


def insert(content, draws, entries):
    place = draws.randrange(len(content))
    return content[:place] + draws.randbytes(draws.randrange(1, 50)) + content[place:]


def garbage(content, draws, entries):
    return draws.choice([b"", b"PK", draws.randbytes(1000), b"\x80\x02}q\x00.", b"{}", content[::-1]])


def zipped(entries, path):
    """Write entries; ``(name, content, method)`` each, checksums made to fit."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, content, method in entries:
            archive.writestr(zipfile.ZipInfo(name), content, method)
    return path.read_bytes()


def rezip(content, draws, entries):
    """Drop, rename, double, compress or change an entry, its checksum with it."""
    entries = [[name, value, zipfile.ZIP_STORED] for name, value in entries]
    chosen = draws.choice(entries)
    kind = draws.randrange(6)
    if kind == 0:
        entries.remove(chosen)
    elif kind == 1:
        chosen[0] = draws.choice(["../" + chosen[0], "/" + chosen[0], chosen[0].upper(), "x/" + chosen[0]])
    elif kind == 2:
        entries.append([chosen[0] + "~", chosen[1], zipfile.ZIP_STORED])
    elif kind == 3:
        chosen[2] = draws.choice([zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
    elif kind == 4:
        chosen[1] = b""
    elif chosen[1]:
        chosen[1] = flip(chosen[1], draws, None)
    return entries


def edited(value, draws):
    """Change one place of a JSON value."""
    if isinstance(value, dict) and value and draws.random() < 0.85:
        name = draws.choice(list(value))
        kind = draws.random()
        if kind < 0.1:
            return {k: v for k, v in value.items() if k != name}
        if kind < 0.2:
            return {(k + "x" if k == name else k): v for k, v in value.items()}
        return {k: edited(v, draws) if k == name else v for k, v in value.items()}
    if isinstance(value, list) and value and draws.random() < 0.7:
        place = draws.randrange(len(value))
        return [edited(v, draws) if i == place else v for i, v in enumerate(value)]
    if isinstance(value, int) and not isinstance(value, bool) and draws.random() < 0.5:
        return draws.choice([-value, value + 1, value * 2, value * 10**6, float(value), str(value)])
    return draws.choice(ODD)


def edit_json(content, draws, entries):
    entries = [[name, value, zipfile.ZIP_STORED] for name, value in entries]
    for entry in entries:
        if entry[0] == "metadata.json":
            metadata = json.loads(entry[1])
            metadata.pop("sha256", None)  # an editor that knows about the checksums
            entry[1] = json.dumps(metadata).encode()
    chosen = draws.choice([e for e in entries if e[0] in ("args.json", "metadata.json")])
    if draws.random() < 0.1:
        chosen[1] = draws.choice([b"", b"[]", b"nul", b'"x"', b"[" * 100_000, b"{" * 10, b"\xff\xfe", b"1e999999"])
    else:
        chosen[1] = json.dumps(edited(json.loads(chosen[1]), draws)).encode()
    return entries


RAW = (flip, flip_directory, cut, cut_front, append, prepend, insert, garbage)


def mutants(path, target, draws, ways):
    """Write mutants of a file, one after another, each with the name of how it was made."""
    content = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        entries = [(name, archive.read(name)) for name in archive.namelist()]
    for number in range(MUTANTS):
        way = ways[number % len(ways)]
        made = way(content, draws, entries)
        target.write_bytes(made if isinstance(made, bytes) else zipped(made, target))
        yield way.__name__, target


def tried(load, path):
    """Give what was loaded, or why nothing was."""
    try:
        return load(path), ""
    except InputError as error:
        return None, str(error)


def outcomes(made, load, same):
    """Count refusals and right results; anything else fails."""
    found = Counter()
    for way, path in made:
        before = path.read_bytes()
        loaded, refusal = tried(load, path)
        if refusal:
            assert "\n" not in refusal, (way, refusal)
            assert path.name in refusal, (way, refusal)
        else:
            assert same(loaded), way
        found["refused" if refusal else "right"] += 1
        assert path.read_bytes() == before
    return found


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(3)
    return FSRegressionSR(
        FSUNO(2, 1, model_channels=4, channel_mult=(1, 2), level_grid=(16, 8), n_modes=(0, 2)),
        [0],
        5,
        {"run": "0123", "regression": None, "data": {"input_channels": []}},
    ).eval()


def test_mutated_networks_are_refused_or_right(network, tmp_path):
    path = tmp_path / "whole.mdlus"
    save_network(network, path)
    condition = torch.randn(1, 2, 16, 16)
    expected = network(None, condition)

    def same(loaded):
        """The same weights; an edit of an argument that shapes no weight is another network, and legal."""
        state = loaded.state_dict()
        return all(torch.equal(state[name], value) for name, value in network.state_dict().items())

    made = mutants(path, tmp_path / "mutant.mdlus", random.Random(0), (*RAW, rezip, edit_json, edit_json, edit_json))
    found = outcomes(made, lambda p: load_network(p, FSRegressionSR), same)
    assert found.total() == MUTANTS
    assert found["refused"] > 0.6 * MUTANTS
    assert torch.equal(load_network(path, FSRegressionSR)(None, condition), expected)


def test_mutated_states_are_refused_or_right(network, tmp_path):
    path = tmp_path / "whole.pt"
    parameters = list(network.parameters())
    optimizer = torch.optim.AdamW(parameters, 1e-3)
    torch.stack([p.sum() for p in parameters]).sum().backward()
    optimizer.step()
    state = {"network": network.state_dict(), "optimizer": optimizer.state_dict(), "images": 8, "best": float("inf")}
    save_state(state, path)

    def same(loaded):
        pairs = zip(loaded["network"].values(), state["network"].values(), strict=True)
        return all(torch.equal(a, b) for a, b in pairs) and loaded["images"] == 8

    made = mutants(path, tmp_path / "mutant.pt", random.Random(1), (*RAW, rezip, rezip))
    found = outcomes(made, lambda p: load_state(p, torch.device("cpu")), same)
    assert found.total() == MUTANTS
    assert found["refused"] > 0.6 * MUTANTS


def test_values_that_a_record_does_not_hold_are_not_read(network, tmp_path):
    """A storage that claims more bytes than its record would be read beyond its memory."""
    path = tmp_path / "x.pt"
    save_state({"a": torch.zeros(100)}, path)
    with zipfile.ZipFile(path) as archive:
        entries = [[name, archive.read(name), zipfile.ZIP_STORED] for name in archive.namelist()]
    for entry in entries:
        if entry[0].endswith("data.pkl"):
            entry[1] = entry[1].replace(b"Kd", b"M" + struct.pack("<H", 60_000))
            assert zlib.crc32(entry[1])
    zipped(entries, path)
    with pytest.raises(InputError, match=r"x\.pt"):
        load_state(path, torch.device("cpu"))
