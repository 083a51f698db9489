# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Every shipped configuration composes and validates; mistakes are named."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hydra import compose, initialize_config_module
from hydra.core.global_hydra import GlobalHydra

from physicsnemo_fs import cli
from physicsnemo_fs import config as schemas
from physicsnemo_fs.composition import check_composition, to_config
from physicsnemo_fs.errors import InputError
from physicsnemo_fs.files import atomic_path

CONF = Path(schemas.__file__).parents[1] / "conf"
NEEDED = {
    "config_score": ["path=samples.nc"],
    "config_compare": ["path=[a.nc,b.nc]"],
    "config_merge": ["path=[a.nc,b.nc]"],
    "config_picture": ["path=a.nc"],
    "config_video": ["path=a.nc"],
    "config_build": ["fine.data_path=a.nc", "fine.variables=[t2m]"],
    "config_export": ["run=outputs/run", "package=outputs/package"],
    "ns_re40": ["dataset.data_path=file.npy"],
    "plugin": ["dataset.type=a:B"],
}


def composed(name, overrides=()):
    GlobalHydra.instance().clear()
    with initialize_config_module("physicsnemo_fs.conf", version_base="1.3"):
        return compose(name, overrides=list(overrides))


def test_the_shipped_configurations_are_found():
    assert len(list(CONF.glob("config_*.yaml"))) >= 5


@pytest.mark.parametrize("path", sorted(CONF.glob("config_*.yaml")), ids=lambda p: p.stem)
def test_every_shipped_configuration_validates(path):
    schema = schemas.SCHEMAS["generate" if path.stem == "config_quickstart" else path.stem.removeprefix("config_")]
    assert isinstance(to_config(composed(path.stem, NEEDED.get(path.stem, ())), schema), schema)


@pytest.mark.parametrize(
    ("group", "member"), [(g, p.stem) for g in ("dataset", "model") for p in sorted((CONF / g).glob("*.yaml"))]
)
def test_every_group_member_validates(group, member):
    config = to_config(composed("config_train", [f"{group}={member}", *NEEDED.get(member, ())]), schemas.TrainConfig)
    chosen = getattr(config, group)
    name = member if member in schemas.GROUPS[group] else chosen.type  # presets bear other names
    assert type(chosen) is schemas.GROUPS[group][name]


@pytest.mark.parametrize("preset", ["kolmogorov_re200", "kolmogorov_re1000"])
def test_the_fine_scale_presets_store_every_mode_they_carry(preset):
    dataset = to_config(composed("config_train", [f"dataset={preset}"]), schemas.TrainConfig).dataset
    assert dataset.store_grid > 2 * ((dataset.grid - 1) // 3)
    assert dataset.store_grid >= dataset.reference_resolution


def test_every_key_is_documented():
    for schema in (*schemas.SCHEMAS.values(), *(s for g in schemas.GROUPS.values() for s in g.values())):
        for f in schemas.fields(schema):
            assert f.metadata.get("help"), f"{schema.__name__}.{f.name}"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["training.hp.learning_rate=1"], r"no configuration key training.hp.learning_rate; did you mean"),
        (["++samplr.x=1"], r"no configuration key samplr.x"),
        (["dataset=kolmogrov"], r"dataset=kolmogrov does not exist.*did you mean 'kolmogorov'"),
        (["training.hp.lr=fast"], r"training.hp.lr=fast.*fast"),
        (["+training.hp.lr=1"], r"training.hp.lr is there already: write training.hp.lr="),
        (["dataset.type=hrrr_mini"], r"dataset.type=hrrr_mini does not choose a dataset"),
        (["wandb.mode=online"], r"wandb.mode is replaced: TensorBoard"),
        (["training.io.checkpoint_dir=x"], r"training.io.checkpoint_dir is replaced: .*run_dir"),
        (["+generation/sampler=deterministic"], r"generation/sampler is replaced: .*sampler.S_churn=0"),
        (["training.hp.total_batch_size=0"], r"training.hp.total_batch_size must be at least 1: got 0"),
        (["training.io.validation_freq=-1"], r"training.io.validation_freq must be at least 1: got -1"),
        (["noise.P_std=-1"], r"noise.P_std must be above 0: got -1"),
        (["model.dropout=1"], r"model.dropout must be at least 0 and below 1: got 1"),
    ],
)
def test_a_mistaken_override_is_named_with_its_remedy(overrides, message):
    def validated():
        check_composition("train", schemas.TrainConfig, overrides)
        return to_config(composed("config_train", overrides), schemas.TrainConfig)

    with pytest.raises(ValueError, match=message):
        validated()


def test_a_mistaken_choice_names_the_nearest():
    config = schemas.TrainConfig(stage="regresion")
    with pytest.raises(ValueError, match=r"stage must be one of .*did you mean 'regression'"):
        schemas.check_values(config)


def test_a_replaced_configuration_says_by_what():
    with pytest.raises(InputError, match="replaced: use config_train with stage=regression"):
        check_composition("train", schemas.TrainConfig, ["--config-name", "config_training_mini_regression"])


def test_a_mistyped_configuration_names_all_there_are():
    with pytest.raises(InputError, match=r"there are config_build, .*, config_quickstart, .*mean 'config_train'"):
        check_composition("train", schemas.TrainConfig, ["--config-name", "config_trian"])


def test_stage_values_override_the_common_ones():
    training = schemas.TrainingConfig(regression_hp=schemas.StageHyperParameters(training_duration=7))
    assert schemas.stage_hyperparameters(training, "regression").training_duration == 7
    assert schemas.stage_hyperparameters(training, "diffusion") == training.hp


@pytest.mark.parametrize("arguments", [["path=missing.nc"], ["path=missing.nc", "outpt=x"], []])
def test_the_command_line_answers_a_mistake_in_one_line(arguments, tmp_path):
    script = Path(__file__).parents[1] / "examples" / "corrdiff_fs" / "score_samples.py"
    run = subprocess.run(
        [sys.executable, "-W", "ignore", str(script), *arguments], cwd=tmp_path, capture_output=True, text=True
    )
    errors = [line for line in run.stderr.splitlines() if line.startswith("error: ")]
    assert run.returncode == 2
    assert len(errors) == 1
    assert "Traceback" not in run.stderr
    assert not any(tmp_path.iterdir())


def test_a_terminated_command_leaves_no_half_written_file(tmp_path):
    def terminated():
        with atomic_path(tmp_path / "x.nc") as temporary:
            temporary.write_text("half")
            os.kill(os.getpid(), signal.SIGTERM)

    before = signal.signal(signal.SIGTERM, cli._exit)
    try:
        with pytest.raises(SystemExit):
            terminated()
    finally:
        signal.signal(signal.SIGTERM, before)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("member", "override", "expected"),
    [
        ("netcdf", "dataset.missing={tp:mask}", {"tp": "mask"}),
        ("netcdf", "dataset.transforms={tp:{kind:log1p,scale:0.1}}", {"tp": {"kind": "log1p", "scale": 0.1}}),
        ("netcdf", "dataset.regions={test:{sea:[50,52,0,4]}}", {"test": {"sea": [50, 52, 0, 4]}}),
        ("netcdf", "dataset.select={number:0}", {"number": 0}),
        ("store", "dataset.missing={tp:mask}", {"tp": "mask"}),
        ("plugin", "dataset.options={depth:3}", {"depth": 3}),
        ("plugin", "+dataset.options.depth=3", {"depth": 3}),
        ("netcdf", "+dataset.missing.tp=mask", {"tp": "mask"}),
    ],
)
def test_mappings_are_given_on_the_command_line(member, override, expected):
    overrides = [f"dataset={member}", *NEEDED.get(member, ()), override]
    dataset = to_config(composed("config_train", overrides), schemas.TrainConfig).dataset
    assert getattr(dataset, override.lstrip("+").split("=")[0].split(".")[1]) == expected
