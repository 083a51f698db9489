# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Mutated configurations: each is refused in one line, or does what it says."""

import random
from contextlib import suppress
from dataclasses import replace

import pytest
from hydra import compose, initialize_config_module
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from small_run import small_config

from physicsnemo_fs.cli import EXPECTED, one_line_errors
from physicsnemo_fs.composition import check_composition, explain, to_config
from physicsnemo_fs.config import SCHEMAS
from physicsnemo_fs.pipelines.train import train

MUTANTS, TRAINED = 200, 8
ODD = [
    *("abc", "-1", "0", "1e308", "-1e400", ".nan", ".inf", "null", "[]", "{}", "[1,2]", "{a:1}", "true", "''"),
    *("10000000000000", "[[1],[x]]", "1.5", "${oc.env:HOME}", "${missing}", "???", "0x10", "2024-01-01", "../x"),
]
MODERATE = ["0", "1", "2", "3", "7", "null", "x", "0.5", "[1]", "true"]
NEVER = ("run_dir", "data_path", "dry_run", "trusted_packages")


def leaves(node, prefix=""):
    for key, value in node.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


def mutate(config, draws, values):
    """Change one to three keys of a composed configuration, or their names."""
    keys = [k for k in leaves(OmegaConf.to_container(config, resolve=False)) if k.split(".")[-1] not in NEVER]
    changed = config.copy()
    for _ in range(draws.choice([1, 1, 1, 2, 3])):
        key, value = draws.choice(keys), draws.choice(values)
        if draws.random() < 0.15:
            key = draws.choice([key + "s", key[1:], f"{key}.more", key.upper(), key.split(".")[-1]])
        changed = OmegaConf.merge(changed, OmegaConf.from_dotlist([f"{key}={value}"]))
    return changed


def refusal(config, draws, values, schema):
    """Give the validated configuration, or the line that refuses it."""
    try:
        return to_config(mutate(config, draws, values), schema), ""
    except OmegaConfBaseException as error:
        return None, explain(error, schema)
    except EXPECTED as error:
        return None, str(error)


@pytest.mark.parametrize("name", ["train", "generate"])
def test_mutated_configurations_are_refused_in_one_line_or_valid(name):
    with initialize_config_module("physicsnemo_fs.conf", version_base="1.3"):
        config = compose(f"config_{name}")
    draws, refused = random.Random(0), 0
    for _ in range(MUTANTS):
        found, line = refusal(config, draws, ODD, SCHEMAS[name])
        assert (found is None) == bool(line)
        assert "\n" not in line
        refused += found is None
    assert 0.4 * MUTANTS < refused < MUTANTS


def test_what_is_valid_trains_or_is_refused_in_one_line(data, run_dir, tmp_path, capsys):
    config = small_config(data, tmp_path / "run")
    base, draws, done = OmegaConf.structured(config), random.Random(1), 0
    while done < TRAINED:
        found, _ = refusal(base, draws, MODERATE, SCHEMAS["train"])
        if found is None or found.dataset != config.dataset:
            continue
        with suppress(*EXPECTED):
            train(replace(found, training=replace(found.training, dry_run=True)))
        done += 1
    assert not (tmp_path / "run").exists()


def checked(overrides):
    with one_line_errors(debug=False):
        check_composition("train", SCHEMAS["train"], overrides)
        with initialize_config_module("physicsnemo_fs.conf", version_base="1.3"):
            to_config(compose("config_train", overrides=overrides), SCHEMAS["train"])


def test_the_command_line_says_it_in_one_line(capsys):
    for overrides in (["training.hp.lr=fast"], ["traning.hp.lr=1"], ["dataset=kolmogrov"], ["training.hp.patience=0"]):
        with pytest.raises(SystemExit) as stopped:
            checked(overrides)
        assert stopped.value.code == 2
        assert len(capsys.readouterr().err.strip().splitlines()) == 1
