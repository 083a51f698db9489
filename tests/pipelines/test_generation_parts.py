# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""The parts of generation on their own: pieces of work, the folder of unfinished work, writing beside sampling."""

import json
import random
import threading
import time
from math import prod

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from physicsnemo_fs.data.types import Channel, Grid
from physicsnemo_fs.distributed import Ranks
from physicsnemo_fs.errors import InputError
from physicsnemo_fs.io.fields import fields_of
from physicsnemo_fs.io.layout import EnsembleSpec
from physicsnemo_fs.pipelines.generation import memory
from physicsnemo_fs.pipelines.generation.background import WAITING, Background
from physicsnemo_fs.pipelines.generation.memory import Portions, fitting_batch
from physicsnemo_fs.pipelines.generation.plan import cut, value_bytes
from physicsnemo_fs.pipelines.generation.work import Work

DAYS = np.array(["2020-01-01", "2020-01-02"], dtype="datetime64[ns]")
T2M = (Channel("t2m", "K"),)


def make_spec(**changes):
    grid, coarse = Grid((8, 8), (1.0, 1.0)), Grid((2, 2), (1.0, 1.0))
    given = {"provenance": {"model_name": "ensemble", "config": {"generation": {"seed": 0, "io": {}}, "perf": {}}}}
    return EnsembleSpec(grid, coarse, DAYS, np.array([0, 1]), T2M, T2M, (7, 8, 9), **(given | changes))


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 20))
def test_pieces_cover_everything_once(times, members, batch):
    pieces = cut(times, members, batch)
    pairs = [(time, member) for piece in pieces for time in piece.times for member in piece.members]
    assert sorted(pairs) == [(time, member) for time in range(times) for member in range(members)]
    assert max(map(len, pieces)) <= batch
    assert [piece.number for piece in pieces] == list(range(len(pieces)))
    assert sum(len(piece.times) for piece in pieces if piece.has_fields) == times


def test_the_size_is_that_of_all_fields():
    spec = make_spec()
    pieces = cut(2, 3, 2)
    places = [place for piece in pieces for place in piece.places(spec)]
    assert len(set(places)) == len(places)
    sizes = [prod((2, 2) if place.group == "input_native" else (8, 8)) for place in places]
    assert value_bytes(spec, pieces) == 4 * sum(sizes)


def begin(folder, **changes):
    work = Work(folder / "s.nc", make_spec(**changes))
    return work, work.begin({"times": ["a"]}, 2, replaces=False)


def test_finished_pieces_are_found_again(tmp_path):
    work, state = begin(tmp_path)
    piece = work.cut(state.batch)[1]
    assert state.finished == ()
    work.pieces(state.run).keep(piece.name, fields_of(work.spec, 0, np.ones((1, 1, 8, 8)), piece.members))
    assert begin(tmp_path)[1].finished == (1,)
    assert work.peek({"times": ["a"]}).finished == (1,)


def test_processes_must_see_the_same_folder(tmp_path):
    work, state = begin(tmp_path)
    with pytest.raises(InputError, match="put the output on a shared file system"):
        Work(tmp_path / "elsewhere" / "s.nc", work.spec).pieces(state.run)
    with pytest.raises(InputError, match="must see one folder"):
        work.pieces("another run")


def test_lost_pieces_are_named(tmp_path):
    work, state = begin(tmp_path)
    with pytest.raises(InputError, match="4 pieces are missing"):
        work.finish(state, False)


def test_a_damaged_record_is_refused_or_discarded(tmp_path):
    work, state = begin(tmp_path)
    record = work.folder / "run.json"
    whole, draws, refused = record.read_bytes(), random.Random(7), 0
    for _ in range(120):
        content = bytearray(whole)
        at = draws.randrange(len(content))
        kind = draws.randrange(3)
        if kind == 0:
            content[at] ^= 1 << draws.randrange(8)
        elif kind == 1:
            del content[at:]
        else:
            content[at : at + 8] = draws.randbytes(8)
        record.write_bytes(content)
        try:
            found = work.begin({"times": ["a"]}, 2, replaces=False)
        except InputError as error:
            message = str(error)
            refused += 1
        else:
            message = ""
            assert (found.batch, found.finished) == (state.batch, ())
        assert "\n" not in message
    assert refused > 60
    record.write_bytes(b"{")
    assert work.begin({"times": ["a"]}, 3, replaces=True).batch == 3
    assert json.loads(record.read_text())["batch"] == 3


def test_writing_does_not_hold_up_the_work():
    def slow(item):
        time.sleep(0.02)

    with Background(slow) as background:
        for item in range(WAITING):
            background.put(item)
        handed_over = background.waited
    assert handed_over < 0.02
    assert background.waited > 0.02


def test_an_error_of_the_writing_surfaces_at_once():
    failed = threading.Event()

    def full(item):
        failed.set()
        raise InputError("the disk is full")

    def run():
        with Background(full) as background:
            background.put(1)
            failed.wait(5)
            for _ in range(500):
                time.sleep(0.01)
                background.check()

    start = time.monotonic()
    with pytest.raises(InputError, match="the disk is full"):
        run()
    assert time.monotonic() - start < 1


def test_an_error_of_the_last_item_surfaces_too():
    def full(item):
        raise InputError("the disk is full")

    with pytest.raises(InputError, match="the disk is full"), Background(full) as background:
        background.put(1)


def test_an_error_of_the_work_drops_what_waits():
    done = []

    def work():
        with Background(lambda item: (time.sleep(0.05), done.append(item))) as background:
            for item in range(3):
                background.put(item)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work()
    assert len(done) < 3
    assert "writing" not in [thread.name for thread in threading.enumerate()]


def test_calls_shrink_until_they_fit_and_stay_small():
    tried = []

    def call(part):
        size = part.stop - part.start
        tried.append(size)
        if size > 3:
            raise RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes.")
        return torch.arange(20)[part]

    portions = Portions(16)
    assert portions.run(call, 20).tolist() == list(range(20))
    assert tried[:3] == [16, 8, 4]
    assert set(tried[3:]) == {2}
    with pytest.raises(ZeroDivisionError):
        portions.run(lambda part: 1 // 0, 1)


@pytest.mark.parametrize(("free", "batch"), [(10**12, memory.MOST), (10_000, 2), (10, 1)])
def test_the_batch_fits_into_the_memory(free, batch, monkeypatch):
    monkeypatch.setattr(memory, "available_memory", lambda: free)
    layer = torch.nn.Linear(10, 1000)
    assert fitting_batch(lambda count: layer(torch.zeros(count, 10)), [layer], Ranks()) == min(batch, memory.MOST)


def test_the_free_memory_is_known():
    assert 10**7 < memory.available_memory() < 10**14
