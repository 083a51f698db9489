# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
import importlib.metadata
import json
import zipfile

import pytest
import torch
from physicsnemo.core.module import Module
from physicsnemo.core.registry import ModelRegistry
from random_networks import TINY, randomize, tiny_fsuno

from physicsnemo_fs.diffusion.matched import Matched
from physicsnemo_fs.diffusion.noise import RandomField
from physicsnemo_fs.models.conv_unet import FSConvUNet
from physicsnemo_fs.models.corrdiff_unet import FSCorrDiffUNet
from physicsnemo_fs.models.edm import FSEDMPrecondSR
from physicsnemo_fs.models.fsuno import FSUNO
from physicsnemo_fs.models.patched import FSPatchedEDMPrecondSR
from physicsnemo_fs.models.regression import FSRegressionSR

OURS = {
    model.__name__: model
    for model in (FSUNO, FSConvUNet, FSRegressionSR, FSEDMPrecondSR, FSPatchedEDMPrecondSR, FSCorrDiffUNet)
}
NOISE = RandomField(Matched(power=((1.0, 0.5, 0.1),), tail_slope=(-2.0,))).to_dict()
X, Y = (torch.randn(2, n, 16, 20, generator=torch.Generator().manual_seed(n)) for n in (1, 2))


def regression():
    network = FSRegressionSR(tiny_fsuno(2, 1), input_skip=[1], gain_shells=5)
    network.set_gain(torch.tensor([[1.0, 0.9, 0.5, 0.2, 0.0]]))
    return network


def conv_unet():
    return randomize(FSConvUNet(2, 1, model_channels=4, channel_mult=(1, 2), embedding_channels=8))


NETWORKS = {
    "FSUNO": (lambda: tiny_fsuno(2, attn_levels=(1,), coord_features="periodic", boundary="pad"), (Y,)),
    "FSUNO, spectral": (lambda: tiny_fsuno(2, level_grid=None, local_kernel=1, n_modes=(3, 2)), (Y,)),
    "FSConvUNet": (conv_unet, (Y,)),
    "FSCorrDiffUNet": (
        lambda: randomize(FSCorrDiffUNet(2, 1, 8, (1, 2), 1, (16,), 16, positions=True)),
        (Y,),
    ),
    "FSRegressionSR": (regression, (None, Y)),
    "FSRegressionSR, conv": (lambda: FSRegressionSR(conv_unet()), (None, Y)),
    "FSEDMPrecondSR": (
        lambda: FSEDMPrecondSR(tiny_fsuno(3), [0.7], sigma_min=0.01, sigma_max=30.0, noise=NOISE),
        (X, torch.ones(2), Y),
    ),
    "FSPatchedEDMPrecondSR": (
        lambda: FSPatchedEDMPrecondSR(
            tiny_fsuno(8, boundary="pad"), (16, 16), (16, 20), (8, 4), None, "periodic", 1, [0], noise=NOISE
        ),
        (X, torch.ones(2), Y),
    ),
}


def test_the_models_are_registered_under_their_own_names():
    registry = ModelRegistry()
    assert set(OURS) <= set(registry.list_models())
    for name, model in OURS.items():
        assert registry.factory(name) is model


def test_no_name_of_nvidias_is_shadowed():
    """The registry looks classes up by bare name, so that a second EDMPrecondSR would capture NVIDIA's checkpoints."""
    entries = list(importlib.metadata.entry_points(group="physicsnemo.models"))
    ours = {entry.name for entry in entries if entry.value.startswith("physicsnemo_fs")}
    theirs = {entry.name for entry in entries if not entry.value.startswith("physicsnemo_fs")}
    assert ours == set(OURS)
    assert theirs
    assert not ours & theirs
    assert all(name.startswith("FS") for name in ours)


@pytest.mark.parametrize("name", NETWORKS)
@torch.no_grad()
def test_checkpoint_round_trip(name, tmp_path):
    build, inputs = NETWORKS[name]
    network, path = build().eval(), tmp_path / "network.mdlus"
    network.save(str(path))
    for loaded in (Module.from_checkpoint(str(path)), type(network).from_checkpoint(str(path))):
        assert type(loaded) is type(network)
        assert torch.equal(loaded.eval()(*inputs), network(*inputs))
        assert loaded.state_dict().keys() == network.state_dict().keys()


@pytest.mark.parametrize("name", NETWORKS)
def test_constructor_arguments_are_json(name, tmp_path):
    path = tmp_path / "network.mdlus"
    NETWORKS[name][0]().save(str(path))
    with zipfile.ZipFile(path) as archive:
        stored = json.loads(archive.read("args.json"))
        assert set(archive.namelist()) >= {"args.json", "metadata.json", "model.pt"}
    assert stored["__name__"] == name.split(",")[0]
    assert stored["__module__"].startswith("physicsnemo_fs.models")


def test_noise_and_levels_travel_with_the_checkpoint(tmp_path):
    path = str(tmp_path / "diffusion.mdlus")
    NETWORKS["FSEDMPrecondSR"][0]().save(path)
    loaded = Module.from_checkpoint(path)
    assert (loaded.sigma_data, loaded.sigma_min, loaded.sigma_max) == ([0.7], 0.01, 30.0)
    field = RandomField.from_dict(loaded.noise)
    assert torch.equal(field.sample([3], 1, (16, 16)), RandomField.from_dict(NOISE).sample([3], 1, (16, 16)))


def test_gain_travels_with_the_checkpoint(tmp_path):
    path = str(tmp_path / "regression.mdlus")
    regression().save(path)
    assert torch.equal(Module.from_checkpoint(path).gain, regression().gain)


def test_checkpoint_of_another_class_is_refused(tmp_path):
    path = str(tmp_path / "unet.mdlus")
    conv_unet().save(path)
    assert not isinstance(Module.from_checkpoint(path), FSUNO)
    with pytest.raises(RuntimeError):
        FSUNO(2, 1, **TINY).load(path)
