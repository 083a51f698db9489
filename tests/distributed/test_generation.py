# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Generation on several ranks, interrupted, on full disks: the same file in the end, or a clear error."""

import os
import random
import resource
import shutil
import signal
import sys
import time

import netCDF4
import pytest
from generated import configuration, everything, members, same_to_rounding
from harness import KILLS, counts_changes, dies_at_change, forked, survive, until
from ranks import free_port, on_ranks, place

from physicsnemo_fs import liveness
from physicsnemo_fs.data.flow.store import store_path
from physicsnemo_fs.errors import START_AGAIN, InputError
from physicsnemo_fs.files import read_json
from physicsnemo_fs.io.pieces import NetCDFPieces
from physicsnemo_fs.pipelines.assembly import kolmogorov_splits
from physicsnemo_fs.pipelines.generate import Session, generate
from physicsnemo_fs.pipelines.generation.sampling import PieceSampler
from physicsnemo_fs.pipelines.generation.work import claimed, work_folder

BATCH = 2
"""Of three members at four times: two pieces a time, eight in all."""


@pytest.fixture(scope="module")
def configured(data, run_dir):
    def configure(path, **generation):
        return configuration(data, run_dir, path, **{"seed_batch_size": BATCH} | generation)

    return configure


@pytest.fixture(scope="module")
def whole(configured, tmp_path_factory):
    return generate(configured(tmp_path_factory.mktemp("whole") / "s.nc"))


@pytest.fixture(scope="module")
def whole_zarr(configured, tmp_path_factory):
    return generate(configured(tmp_path_factory.mktemp("whole") / "s.zarr"))


def slowly(config, seconds):
    """Generate, with a pause before each piece."""
    sample = PieceSampler.sample

    def paused(self, piece, watch=None):
        time.sleep(seconds)
        return sample(self, piece, watch)

    PieceSampler.sample = paused
    generate(config)


def finished(path):
    return sorted(work_folder(path).glob("pieces/[!.]*.piece"))


def assert_whole(path, other):
    assert everything(path) == everything(other)
    assert [p.name for p in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("count", [2, 3, 4])
@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_any_number_of_ranks_gives_the_same_bits(count, suffix, configured, whole, whole_zarr, tmp_path):
    path = tmp_path / f"s{suffix}"
    assert on_ranks(count, generate, configured(path)) == [0] * count
    assert_whole(path, whole if suffix == ".nc" else whole_zarr)


@pytest.mark.parametrize(("count", "batch"), [(1, 1), (2, 3), (3, 5), (2, 16), (1, "auto")])
def test_any_batch_gives_the_same_numbers(count, batch, configured, whole, tmp_path):
    path = tmp_path / "s.nc"
    assert on_ranks(count, generate, configured(path, seed_batch_size=batch)) == [0] * count
    assert same_to_rounding(members(path), members(whole))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_what_is_finished_is_not_made_again(number, suffix, configured, whole, whole_zarr, tmp_path, monkeypatch):
    path = tmp_path / f"s{suffix}"
    process = forked(slowly, configured(path), 0.2)
    until(lambda: len(finished(path)) >= 2)
    process.signal(number)
    assert process.wait(60) == (START_AGAIN if number == signal.SIGTERM else -number)
    assert not path.exists()
    sample, made = PieceSampler.sample, []
    kept = len(finished(path))
    monkeypatch.setattr(
        PieceSampler, "sample", lambda self, piece, watch: made.append(piece) or sample(self, piece, watch)
    )
    generate(configured(path))
    assert len(made) == 8 - kept < 8
    assert_whole(path, whole if suffix == ".nc" else whole_zarr)


@pytest.mark.parametrize("then", [1, 3])
def test_another_rank_count_and_batch_continue(then, configured, whole, tmp_path):
    path = tmp_path / "s.nc"
    process = forked(slowly, configured(path), 0.2)
    until(lambda: len(finished(path)) >= 3)
    process.kill()
    assert on_ranks(then, generate, configured(path)) == [0] * then
    assert_whole(path, whole)


def test_a_smaller_batch_continues_with_smaller_calls(configured, whole, tmp_path):
    path = tmp_path / "s.nc"
    process = forked(slowly, configured(path), 0.2)
    until(lambda: len(finished(path)) >= 3)
    process.kill()
    generate(configured(path, seed_batch_size=1))
    assert same_to_rounding(members(path), members(whole))


def test_a_lost_rank_ends_the_others_and_keeps_what_is_finished(configured, whole, tmp_path):
    path = tmp_path / "s.nc"

    def with_a_victim(config):
        if os.environ["RANK"] == "1":
            sample = PieceSampler.sample

            def dying(self, piece, watch=None):
                if len(finished(path)) >= 2:
                    os.kill(os.getpid(), signal.SIGKILL)
                time.sleep(0.2)
                return sample(self, piece, watch)

            PieceSampler.sample = dying
        generate(config)

    start = time.monotonic()
    statuses = on_ranks(3, with_a_victim, configured(path))
    assert time.monotonic() - start < 60
    assert statuses[1] == -signal.SIGKILL
    assert 0 not in statuses
    assert len(finished(path)) >= 2
    assert on_ranks(2, generate, configured(path)) == [0, 0]
    assert_whole(path, whole)


def test_a_stopped_rank_ends_the_others(configured, whole, tmp_path, monkeypatch):
    for name, value in (("INTERVAL", 0.2), ("SILENCE", 2.0), ("GRACE", 0.5)):
        monkeypatch.setattr(liveness, name, value)
    path = tmp_path / "s.nc"

    def stopped(config):
        if os.environ["RANK"] == "1":
            PieceSampler.sample = lambda *given: os.kill(os.getpid(), signal.SIGSTOP)
        generate(config)

    port = free_port()

    def rank(number):
        os.environ.update(place(number, 2, port))
        stopped(configured(path))

    processes = [forked(rank, number) for number in range(2)]
    assert processes[0].wait(30) == liveness.STATUS
    processes[1].kill()
    assert len(finished(path)) == 4
    generate(configured(path))
    assert_whole(path, whole)


@pytest.mark.parametrize("limit", ["pieces", "file"])
def test_a_full_disk_keeps_what_is_finished(limit, configured, whole, tmp_path, capfd):
    path = tmp_path / "s.nc"
    sizes = {"pieces": 9_000, "file": whole.stat().st_size // 2}

    def on_a_full_disk():
        resource.setrlimit(resource.RLIMIT_FSIZE, (sizes[limit], sizes[limit]))
        try:
            generate(configured(path))
        except InputError as error:
            sys.stderr.write(str(error))
            sys.exit(2)

    assert forked(on_a_full_disk).wait(60) == 2
    assert "finished members are kept" in capfd.readouterr().err
    assert not path.exists()
    assert len(finished(path)) == (8 if limit == "file" else len(finished(path)))
    generate(configured(path))
    assert_whole(path, whole)


def test_too_little_room_is_found_before_anything_is_made(configured, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage._replace(free=1000))
    with pytest.raises(InputError, match=r"must have room for .* GB"):
        generate(configured(tmp_path / "s.nc"))
    assert not finished(tmp_path / "s.nc")


def test_an_unwritable_folder_is_refused(configured, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"cannot create the folder|must be writable"):
        generate(configured(tmp_path / "file" / "s.nc"))


def test_a_second_start_is_refused_while_the_first_works(configured, whole, tmp_path):
    path = tmp_path / "s.nc"
    with claimed(path), pytest.raises(InputError, match=r"one command generates s\.nc"):
        generate(configured(path))
    generate(configured(path))
    assert_whole(path, whole)


def test_a_result_that_another_command_made_meanwhile_is_not_replaced(configured, whole, tmp_path, monkeypatch):
    path, unite = tmp_path / "s.nc", NetCDFPieces.unite

    def beaten(*given):
        path.write_bytes(b"somebody's")
        return unite(*given)

    with monkeypatch.context() as patch:
        patch.setattr(NetCDFPieces, "unite", beaten)
        with pytest.raises(InputError, match=r"s\.nc was made by somebody else meanwhile; the work is kept"):
            generate(configured(path))
    assert path.read_bytes() == b"somebody's"
    path.unlink()
    generate(configured(path))
    assert_whole(path, whole)


def test_a_result_that_appears_before_the_work_is_judged_again(configured, whole, tmp_path, monkeypatch):
    path, job = tmp_path / "s.nc", Session._job
    other = generate(configured(tmp_path / "other" / "s.nc", seed=9))
    monkeypatch.setattr(Session, "_job", lambda *given: (shutil.copy(other, path), job(*given))[1])
    with pytest.raises(InputError, match=r"s\.nc is there, with another .*seed"):
        generate(configured(path))


def test_a_picture_that_a_kill_prevented_is_drawn_by_the_next_start(configured, tmp_path):
    path = generate(configured(tmp_path / "s.nc", picture=True))
    path.with_suffix(".png").unlink()
    generate(configured(path, picture=True))
    assert path.with_suffix(".png").exists()


def test_work_on_another_configuration_is_refused_or_discarded(configured, whole, tmp_path):
    path = tmp_path / "s.nc"
    process = forked(slowly, configured(path, seed=9), 0.2)
    until(lambda: len(finished(path)) >= 2)
    process.kill()
    with pytest.raises(InputError, match=r"unfinished work with another .*seed .*replace=true to discard it"):
        generate(configured(path))
    generate(configured(path, replace=True))
    found, _ = everything(path)
    assert found == everything(whole)[0]


def test_data_may_move_while_work_is_unfinished(configured, data, whole, tmp_path):
    path, moved = tmp_path / "s.nc", tmp_path / "moved"
    process = forked(slowly, configured(path), 0.2)
    until(lambda: len(finished(path)) >= 2)
    process.kill()
    shutil.copytree(data, moved)
    config = configured(path)
    config.dataset.data_path = str(moved)
    generate(config)
    assert everything(path) == everything(whole)
    assert generate(config) == path
    assert everything(path) == everything(whole)


def altered(folder, config):
    with netCDF4.Dataset(store_path(folder, kolmogorov_splits(config.dataset), "test"), "a") as file:
        file["vorticity"][1, 1, 5, 5] += 1.0


@pytest.fixture
def on_data_of_its_own(configured, data, tmp_path):
    """Data that may be changed, the configuration of a result on it, and the result."""
    here = shutil.copytree(data, tmp_path / "here")
    config = configured(tmp_path / "s.nc")
    config.dataset.data_path = str(here)
    return here, config, generate(config)


def test_data_that_changed_in_its_place_is_noticed_and_replaced_on_demand(on_data_of_its_own):
    here, config, path = on_data_of_its_own
    before = everything(path)
    altered(here, config)
    with pytest.raises(InputError, match=r"with another config\.dataset\.samples\[3\].*replace=true"):
        generate(config)
    assert everything(path) == before
    config.generation.replace = True
    generate(config)
    assert everything(path)[0] != before[0]


def test_a_result_whose_data_is_damaged_since_is_kept_and_said_so(on_data_of_its_own, caplog):
    here, config, path = on_data_of_its_own
    before = everything(path)
    store_path(here, kolmogorov_splits(config.dataset), "test").write_bytes(b"damaged")
    assert generate(config) == path
    assert everything(path) == before
    assert "its data cannot be compared" in caplog.text


def test_a_result_is_kept_without_simulating_its_data_again(on_data_of_its_own):
    here, config, path = on_data_of_its_own
    before = everything(path)
    shutil.rmtree(here)
    assert generate(config) == path
    assert everything(path) == before
    assert not here.exists()


@pytest.mark.parametrize("state", ["unfinished", "finished"])
def test_other_data_elsewhere_is_refused(state, configured, data, tmp_path):
    path, moved = tmp_path / "s.nc", tmp_path / "moved"
    if state == "finished":
        generate(configured(path))
    else:
        process = forked(slowly, configured(path), 0.2)
        until(lambda: len(finished(path)) >= 2)
        process.kill()
    shutil.copytree(data, moved)
    config = configured(path)
    altered(moved, config)
    config.dataset.data_path = str(moved)
    with pytest.raises(InputError, match=r"with another config\.dataset\.samples\[3\]"):
        generate(config)


def test_a_kill_between_the_name_and_the_cleaning_leaves_a_finished_result(configured, whole, tmp_path):
    path = tmp_path / "s.nc"
    generate(configured(path))
    work_folder(path).mkdir()
    (work_folder(path) / "rest").write_text("")
    generate(configured(path))
    assert_whole(path, whole)


def test_the_record_says_what_is_made(configured, tmp_path):
    path = tmp_path / "s.nc"
    process = forked(slowly, configured(path), 0.2)
    until(lambda: len(finished(path)) >= 1)
    process.kill()
    record = read_json(work_folder(path) / "run.json")
    assert record["batch"] == BATCH
    assert record["content"]["seeds"] == [0, 1, 2]
    assert len(record["content"]["times"]) == 4


@pytest.mark.faults
def test_killed_at_random_times(configured, whole, whole_zarr, tmp_path):
    draws, kills, number = random.Random(11), 0, 0
    started = time.monotonic()
    assert forked(generate, configured(tmp_path / "timed" / "s.nc")).wait(300) == 0
    seconds = time.monotonic() - started
    while kills < KILLS // 2:
        suffix = (".nc", ".zarr")[number % 2]
        path = tmp_path / f"run_{number}" / f"s{suffix}"
        found = survive(lambda path=path: forked(slowly, configured(path), 0.02), 4, 0.8 * seconds, draws)
        assert found.statuses[-1] == 0, found
        assert_whole(path, whole if suffix == ".nc" else whole_zarr)
        kills, number = kills + found.kills, number + 1


@pytest.mark.faults
def test_killed_before_a_change_of_its_folder(configured, whole, whole_zarr, tmp_path):
    draws, changes = random.Random(12), {}
    for number in range(KILLS - KILLS // 2):
        suffix = (".nc", ".zarr")[number % 2]
        counted = tmp_path / f"counted_{number}"

        def count(counted=counted, suffix=suffix):
            counts_changes(counted, tmp_path / "changes")
            generate(configured(counted / f"s{suffix}"))

        if number < 2:
            assert forked(count).wait(300) == 0
            changes[suffix] = int((tmp_path / "changes").read_text())
        path = tmp_path / f"run_{number}" / f"s{suffix}"

        at = draws.randrange(changes[suffix])

        def killed(path=path, at=at):
            dies_at_change(path.parent, at)
            generate(configured(path))

        assert forked(killed).wait(300) == -signal.SIGKILL
        assert forked(generate, configured(path)).wait(300) == 0
        assert_whole(path, whole if suffix == ".nc" else whole_zarr)


@pytest.mark.faults
@pytest.mark.skipif(KILLS < 20, reason="make test-faults")
def test_two_ranks_killed_at_random_times(configured, whole, tmp_path):
    def both(path):
        sys.exit(max(map(abs, on_ranks(2, slowly, configured(path), 0.05))))

    draws, kills, number = random.Random(13), 0, 0
    while kills < 4:
        path = tmp_path / f"run_{number}" / "s.nc"
        found = survive(lambda path=path: forked(both, path), 4 - kills, 1.0, draws)
        assert found.statuses[-1] == 0, found
        assert_whole(path, whole)
        kills, number = kills + found.kills, number + 1
