# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of unknown origin: nothing foreign is imported, unpickled or unpacked beyond its bounds."""

import io
import json
import pickle
import struct
import sys
import tarfile
import warnings
import zipfile
from dataclasses import replace

import pytest
import torch
from physicsnemo.core.module import Module
from physicsnemo.core.registry import ModelRegistry

from physicsnemo_fs.config import GenerateConfig
from physicsnemo_fs.distributed import Ranks
from physicsnemo_fs.errors import InputError
from physicsnemo_fs.models.fsuno import FSUNO
from physicsnemo_fs.models.regression import FSRegressionSR
from physicsnemo_fs.pipelines.archives import load_tensors
from physicsnemo_fs.pipelines.checkpoints import ENTRIES, load_network, save_network
from physicsnemo_fs.pipelines.generation.networks import load_networks
from physicsnemo_fs.pipelines.training_state import load_state, save_state

EVIL = """
import pathlib
from physicsnemo_fs.models.regression import FSRegressionSR
pathlib.Path(__file__).with_name('ran').touch()
"""


@pytest.fixture
def path(tmp_path):
    network = FSRegressionSR(FSUNO(2, 1, model_channels=4, channel_mult=(1, 2), level_grid=(32, 16), n_modes=(0, 2)))
    save_network(network, tmp_path / "FSRegressionSR.0.1.mdlus")
    return tmp_path / "FSRegressionSR.0.1.mdlus"


@pytest.fixture
def trap(tmp_path, monkeypatch):
    """A package that leaves a file when it is imported."""
    (tmp_path / "evil.py").write_text(EVIL)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path / "ran"
    sys.modules.pop("evil", None)


def entries_of(path):
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def rewrite(path, change=lambda entries: None, method=zipfile.ZIP_STORED):
    """Write an archive again after ``change(entries)``, without checksums."""
    entries = entries_of(path)
    metadata = json.loads(entries["metadata.json"])
    metadata.pop("sha256", None)
    entries["metadata.json"] = json.dumps(metadata).encode()
    change(entries)
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)


def change_arguments(path, change):
    def edit(entries):
        arguments = json.loads(entries["args.json"])
        change(arguments)
        entries["args.json"] = json.dumps(arguments).encode()

    rewrite(path, edit)


def test_a_saved_network_is_read_by_physicsnemo_too(path):
    ours, theirs = load_network(path, FSRegressionSR), Module.from_checkpoint(str(path))
    assert type(ours) is type(theirs) is FSRegressionSR
    assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), theirs.parameters(), strict=True))
    assert not ours.training


@pytest.mark.parametrize(
    "place",
    [
        lambda a: a.update(__module__="evil"),
        lambda a: a["__physicsnemo.Module__.backbone"].update(__module__="evil"),
        lambda a: a["__args__"].update(trained_on=[{"x": [{"__name__": "A", "__module__": "evil", "__args__": {}}]}]),
        lambda a: a["__args__"].update(trained_on={"__module__": "evil"}),
        lambda a: a.update({"__physicsnemo.Module__.other": {"__name__": "A", "__module__": "evil", "__args__": {}}}),
    ],
)
def test_a_class_of_another_package_is_refused_before_its_import(path, trap, place):
    change_arguments(path, place)
    with pytest.raises(InputError, match=r"package 'evil', which is not trusted.*trusted_packages=\[evil\]"):
        load_network(path, FSRegressionSR)
    assert not trap.exists()


@pytest.mark.parametrize(
    "encoder", [{"_target_": "evil.FSRegressionSR"}, {"a": [{"_target_": "evil.x"}]}, "${oc.create:'{a: b}'}", {}]
)
def test_a_network_that_calls_what_its_arguments_name_is_refused(path, trap, encoder):
    def plant(arguments):
        place = next(name for name in arguments if name.startswith("__physicsnemo.Module__"))
        arguments[place] = {
            "__name__": "HEALPixUNet",
            "__module__": "physicsnemo.models.dlwp_healpix.HEALPixUNet",
            "__args__": {"encoder": encoder, "decoder": {}, "input_channels": 1, "output_channels": 1},
        }

    change_arguments(path, plant)
    with pytest.raises(InputError, match=r"call"):
        load_network(path, FSRegressionSR)
    assert not trap.exists()


def test_a_package_that_the_user_trusts_is_imported(path, trap):
    change_arguments(path, lambda a: a.update(__module__="evil"))
    assert type(load_network(path, FSRegressionSR, trusted=["evil"])).__module__ == "physicsnemo_fs.models.regression"
    change_arguments(path, lambda a: a.update(__module__="evil", __name__="Other"))
    with pytest.raises(InputError, match=r"evil\.Other, which is not there"):
        load_network(path, Module, trusted=["evil"])
    assert trap.exists()


def test_generation_imports_what_its_configuration_trusts(path, trap, tmp_path):
    change_arguments(path, lambda a: a.update(__module__="evil"))
    config = GenerateConfig(run_dir=str(tmp_path))
    config.generation.inference_mode = "regression"
    config.generation.io.reg_ckpt_filename = str(path)
    with pytest.raises(InputError, match="not trusted"):
        load_networks(config, None, Ranks())
    assert not trap.exists()
    assert load_networks(replace(config, trusted_packages=["evil"]), None, Ranks()).regression is not None


@pytest.mark.parametrize(
    "module", ["physicsnemo./evil", "physicsnemo..evil", "physicsnemo.../evil", "", "evil.physicsnemo"]
)
def test_module_names_are_plain(path, trap, module):
    change_arguments(path, lambda a: a["__physicsnemo.Module__.backbone"].update(__module__=module))
    with pytest.raises(InputError, match="not trusted"):
        load_network(path, FSRegressionSR)
    assert not trap.exists()


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("physicsnemo.core.module", "importlib"),
        ("physicsnemo.core.module", "Path"),
        ("physicsnemo_fs.provenance", "subprocess"),
        ("physicsnemo_fs.pipelines.train", "train"),
        ("physicsnemo_fs.absent", "A"),
    ],
)
def test_what_is_no_network_is_not_called(path, module, name):
    change_arguments(path, lambda a: a["__physicsnemo.Module__.backbone"].update(__module__=module, __name__=name))
    with pytest.raises(InputError, match=r"no network|not there"):
        load_network(path, FSRegressionSR)


def test_a_registered_class_of_another_package_does_not_stand_in(path, trap):
    registry = ModelRegistry()
    entry = importlib_entry("FSUNO", "evil:FSRegressionSR")
    before = registry._model_registry["FSUNO"]
    registry._model_registry["FSUNO"] = entry
    try:
        assert isinstance(load_network(path, FSRegressionSR).backbone, FSUNO)
    finally:
        registry._model_registry["FSUNO"] = before
    assert not trap.exists()


def importlib_entry(name, value):
    from importlib.metadata import EntryPoint

    return EntryPoint(name, value, "physicsnemo.models")


def test_an_archive_that_is_a_tar_file_too_is_read_as_zip_only(path, trap):
    """PhysicsNeMo looks for a tar archive first."""
    good = entries_of(path)
    arguments = json.loads(good["args.json"])
    arguments["__physicsnemo.Module__.backbone"].update(__module__="evil", __name__="A")
    evil = good | {"args.json": json.dumps(arguments).encode()}
    front = io.BytesIO()
    with tarfile.open(fileobj=front, mode="w") as archive:
        for name, content in evil.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    path.write_bytes(front.getvalue() + path.read_bytes())
    assert tarfile.is_tarfile(path)
    assert isinstance(load_network(path, FSRegressionSR), FSRegressionSR)
    assert not trap.exists()


@pytest.mark.parametrize("extra", ["../evil.py", "/tmp/evil.py", "model.pt", "other"])  # noqa: S108
def test_other_entries_are_refused(path, extra):
    with zipfile.ZipFile(path, "a") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        archive.writestr(extra, b"x")
    with pytest.raises(InputError, match="must hold"):
        load_network(path, FSRegressionSR)


def test_a_bomb_is_refused_before_it_is_unpacked(path):
    def grow(entries):
        entries["model.pt"] = bytes(300 * 2**20)

    rewrite(path, grow, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 2**20
    with pytest.raises(InputError, match="unpacks to more than 20 times its size"):
        load_network(path, FSRegressionSR)


def test_a_bomb_with_a_lying_header_is_refused(path):
    def grow(entries):
        entries["model.pt"] = bytes(100 * 2**20)

    rewrite(path, grow, zipfile.ZIP_DEFLATED)
    content = path.read_bytes()
    content = content.replace(struct.pack("<L", 100 * 2**20), struct.pack("<L", 1000))
    path.write_bytes(content)
    with pytest.raises(InputError, match="truncated or damaged"):
        load_network(path, FSRegressionSR)


@pytest.mark.parametrize("name", ["args.json", "metadata.json"])
def test_a_long_text_is_refused(path, name):
    rewrite(path, lambda entries: entries.update({name: b" " * (17 * 2**20)}))
    with pytest.raises(InputError, match="below 16 MiB"):
        load_network(path, FSRegressionSR)


@pytest.mark.parametrize(
    "change",
    [
        lambda a: a["__physicsnemo.Module__.backbone"]["__args__"].update(model_channels=10**6),
        lambda a: a["__physicsnemo.Module__.backbone"]["__args__"].update(num_blocks=10**9),
        lambda a: a["__args__"].update(gain_shells=10**12),
    ],
)
def test_arguments_of_a_huge_network_are_refused_at_once(path, change):
    change_arguments(path, change)
    with pytest.raises(InputError, match="far larger than its weights"):
        load_network(path, FSRegressionSR)


def test_a_network_that_holds_itself_is_refused(path):
    change_arguments(path, lambda a: a["__physicsnemo.Module__.backbone"]["__args__"].update(
        in_channels="__physicsnemo.Module__.backbone"))  # fmt: skip
    with pytest.raises(InputError, match="names the network"):
        load_network(path, FSRegressionSR)


class Touch:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize("wrapped", [True, False])
def test_nothing_is_unpickled(path, tmp_path, wrapped):
    content = io.BytesIO()
    torch.save({"x": Touch(tmp_path / "ran")}, content)
    value = content.getvalue() if wrapped else pickle.dumps(Touch(tmp_path / "ran"))
    rewrite(path, lambda entries: entries.update({"model.pt": value}))
    with pytest.raises(InputError, match="damaged or holds more than tensors"):
        load_network(path, FSRegressionSR)
    (tmp_path / "checkpoint.0.1.pt").write_bytes(value)
    with pytest.raises(InputError, match="damaged or holds more than tensors"):
        load_state(tmp_path / "checkpoint.0.1.pt", torch.device("cpu"))
    assert not (tmp_path / "ran").exists()


def test_compressed_tensors_are_refused(tmp_path):
    content = io.BytesIO()
    torch.save(torch.zeros(2**20), content)
    content.seek(0)
    with zipfile.ZipFile(content) as archive, zipfile.ZipFile(tmp_path / "x.pt", "w", zipfile.ZIP_DEFLATED) as out:
        for name in archive.namelist():
            out.writestr(name, archive.read(name))
    with pytest.raises(InputError, match="an entry is compressed"):
        load_tensors(tmp_path / "x.pt", "x.pt")


def test_a_tensor_does_not_claim_more_values_than_there_are(tmp_path):
    torch.save({"x": torch.zeros(1).expand(2**40)}, tmp_path / "x.pt")
    with pytest.raises(InputError, match="with fewer values"):
        load_tensors(tmp_path / "x.pt", "x.pt")


def test_every_entry_has_its_checksum(path):
    entries = entries_of(path)
    for name in ENTRIES[:2]:
        changed = entries | {name: entries[name].replace(b"gain", b"gaim")}
        assert changed[name] != entries[name]
        with zipfile.ZipFile(path, "w") as archive:
            for entry, content in changed.items():
                archive.writestr(entry, content)
        with pytest.raises(InputError, match=f"the checksum of {name} differs"):
            load_network(path, FSRegressionSR)


def test_a_state_carries_its_checksum(tmp_path):
    path = tmp_path / "checkpoint.0.8.pt"
    state = {"a": torch.arange(6, dtype=torch.float32).reshape(2, 3), "b": [1, 2.5, None], "c": torch.ones(2) * 1j}
    save_state(state, path)
    loaded = load_state(path, torch.device("cpu"))
    assert torch.equal(loaded["a"], state["a"])
    assert loaded["b"] == state["b"]
    whole = torch.load(path, weights_only=True)
    whole["state"]["a"][1, 1] += 1e-6
    torch.save(whole, path)
    with pytest.raises(InputError, match="its checksum differs"):
        load_state(path, torch.device("cpu"))
    torch.save({"a": 1}, path)
    with pytest.raises(InputError, match="no training state of this program"):
        load_state(path, torch.device("cpu"))
