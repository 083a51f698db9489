# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Training on several ranks: exact resume, on another rank count too, and one record a start."""

import json
import os
import socket
import time
from dataclasses import replace

import pytest
import torch
from ranks import on_ranks
from small_run import small_config
from test_train import assert_equal_up_to_rounding, assert_same, weights

from physicsnemo_fs.data.opening import Opening
from physicsnemo_fs.distributed import Ranks, process_group
from physicsnemo_fs.files import read_record
from physicsnemo_fs.models.regression import FSRegressionSR
from physicsnemo_fs.pipelines.assembly import open_dataset
from physicsnemo_fs.pipelines.checkpoints import load_network
from physicsnemo_fs.pipelines.run_record import FINISHED
from physicsnemo_fs.pipelines.stage_building import measure
from physicsnemo_fs.pipelines.train import train
from physicsnemo_fs.pipelines.trainer import Trainer


def interrupted_train(config):
    """Train as far as three steps."""
    step, taken = Trainer._step, []

    def counted(self, network):
        taken.append(self.images)
        if len(taken) == 4:
            raise SystemExit(5)
        return step(self, network)

    Trainer._step = counted
    train(config)


@pytest.fixture(scope="module")
def configured(data):
    def configure(folder, prefetch=2):
        whole = small_config(data, folder)
        whole.training.perf.prefetch = prefetch
        whole.training.hp.batch_size_per_gpu = 3
        whole.model.dropout = 0.3
        return replace(whole, stage="regression")

    return configure


@pytest.fixture(scope="module")
def on_two(run_dir, configured, tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    assert on_ranks(2, train, configured(folder)) == [0, 0]
    return folder


def test_two_ranks_resume_bit_for_bit(configured, on_two, tmp_path):
    assert on_ranks(2, interrupted_train, configured(tmp_path)) == [5, 5]
    assert on_ranks(2, train, configured(tmp_path, prefetch=0)) == [0, 0]
    assert_same(weights(tmp_path, "regression"), weights(on_two, "regression"))


@pytest.mark.parametrize(("first", "then"), [(1, 2), (2, 4), (4, 1)])
def test_another_rank_count_continues_the_run(first, then, configured, on_two, tmp_path):
    assert on_ranks(first, interrupted_train, configured(tmp_path)) == [5] * first
    assert on_ranks(then, train, configured(tmp_path)) == [0] * then
    assert_equal_up_to_rounding(tmp_path, on_two, "regression")


def test_ranks_measure_together_while_they_open_the_data(configured, on_two, tmp_path, monkeypatch):
    def measuring(config, opening):
        assert opening.ranks.sum(torch.ones(1)) == 2
        return open_dataset(config, opening)

    monkeypatch.setattr("physicsnemo_fs.pipelines.train.open_dataset", measuring)
    assert on_ranks(2, train, configured(tmp_path)) == [0, 0]
    assert_same(weights(tmp_path, "regression"), weights(on_two, "regression"))


@pytest.mark.parametrize("samples", [16, 2])
def test_ranks_share_the_samples_of_a_measurement(samples, run_dir, configured, tmp_path):
    """Shared by three, or, where there are fewer than ranks, measured by each: what one finds, to 1e-7 measured."""
    config = configured(tmp_path)
    config.training.calibration_samples = samples

    def found(ranks):
        dataset = open_dataset(config.dataset, Opening("train", ranks=ranks))
        path = run_dir / "regression" / read_record(run_dir / "regression" / FINISHED, network=str)["network"]
        return vars(measure(config, load_network(path, FSRegressionSR), dataset, ranks))

    def share():
        with process_group() as ranks, torch.no_grad():
            torch.save(found(ranks), tmp_path / f"{ranks.rank}.pt")

    assert on_ranks(3, share) == [0, 0, 0]
    with torch.no_grad():
        alone = found(Ranks())
    shares = [torch.load(tmp_path / f"{rank}.pt") for rank in range(3)]
    for name, value in alone.items():
        for one in shares:
            torch.testing.assert_close(one[name], value, rtol=1e-5, atol=1e-9)
            torch.testing.assert_close(one[name], shares[0][name], rtol=0, atol=0)


def test_the_main_rank_goes_first(tmp_path):
    def claim():
        with process_group() as ranks, ranks.main_first():
            time.sleep(0.1 if ranks.is_main else 0)
            (tmp_path / "order").open("a").write(str(ranks.rank))

    assert on_ranks(3, claim) == [0, 0, 0]
    assert (tmp_path / "order").read_text()[0] == "0"


def test_groups_follow_each_other_in_one_process():
    def several():
        for number in range(8):
            with process_group() as ranks:
                assert ranks.sum(torch.tensor([1.0 + ranks.rank])) == 3
                assert ranks.tell(f"{number} {ranks.rank}") == f"{number} 0"
                time.sleep(0.05 * ((ranks.rank + number) % 2))

    assert on_ranks(2, several, longest=60) == [0, 0]


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_ranks_meet_at_an_address_of_either_kind(address):
    try:
        socket.create_server((address, 0), family=socket.AF_INET6 if ":" in address else socket.AF_INET).close()
    except OSError as error:
        pytest.skip(f"this machine has no {address}: {error}")

    def meet():
        os.environ["MASTER_ADDR"] = address
        with process_group() as ranks:
            assert ranks.sum(torch.ones(1)) == 2

    assert on_ranks(2, meet, longest=60) == [0, 0]


def test_every_start_leaves_a_record(configured, on_two):
    (path,) = (on_two / "starts").glob("*.json")
    record = json.loads(path.read_text())
    assert record["id"] == path.stem
    assert (record["launcher"], record["ranks"], record["device"]) == ("torchrun", 2, "cpu")
    assert record["config"]["training"]["hp"]["total_batch_size"] == 8
    assert {"host", "command", "directory", "started", "python", "packages"} < set(record)
    assert set(record["code"]) == {"version", "revision", "modified"}
