# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""The demo's benchmark compares models over seeds field by field."""

import demo
import numpy as np
import pytest
import xarray as xr

NAMES = {"scores_unet_64": "ensemble (unet_64)", "scores_dressed": "dressed regression"}
NAMES |= {"scores_operator_64": "ensemble", "scores_unet_shrunk_mean_64": "ensemble (unet_shrunk_mean_64)"}


def test_ratios_are_those_of_the_means_over_seeds_and_fields(tmp_path, monkeypatch):
    draws = np.random.default_rng(0)
    crps = {name: draws.uniform(1, 2, (2, 20)) for name in NAMES}
    crps["scores_unet_64"] = 2 * crps["scores_operator_64"]
    crps["held"] = draws.uniform(1, 2, (2, 20))
    for seed in range(2):
        for folder, model in NAMES.items():
            values = np.stack([np.zeros(20), crps[folder][seed]])
            scores = xr.Dataset({"u": (("metric", "time"), values)}, {"metric": ["mae", "crps_fair"]})
            path = tmp_path / f"seed{seed}" / folder / "scores.nc"
            path.parent.mkdir(parents=True)
            scores.to_netcdf(path, group=f"models/{model}")
    monkeypatch.setattr(demo, "held_crps", lambda folder, resolution: crps["held"][int(folder.name[-1])])
    unet, shrunk, dressed, held = demo.over_seeds([tmp_path / "seed0", tmp_path / "seed1"], 64, frames=2)
    assert (unet["value"], unet["ci_lo"], unet["ci_hi"], unet["n_times"]) == ("0.5", "0.5", "0.5", 20)
    for found, name in ((shrunk, "scores_unet_shrunk_mean_64"), (dressed, "scores_dressed"), (held, "held")):
        expected = crps["scores_operator_64"].mean() / crps[name].mean()
        assert float(found["value"]) == pytest.approx(expected, rel=1e-5)
        assert float(found["ci_lo"]) < expected < float(found["ci_hi"])
