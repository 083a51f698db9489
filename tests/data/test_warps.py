# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from physicsnemo_fs.data.types import Channel
from physicsnemo_fs.data.warps import Identity, Log1p, Quantile, warp_from_dict
from physicsnemo_fs.errors import InputError

KNOTS = Quantile((0.0, 0.01, 0.5, 4.0, 120.0), (-2.0, -0.5, 0.1, 1.0, 3.0))
WARPS = [Identity(), Log1p(0.1), Log1p(3.0), KNOTS]
rain = st.floats(0.0, 500.0, allow_subnormal=False)


@pytest.mark.parametrize("warp", WARPS)
@given(value=rain)
def test_the_inverse_gives_the_value_back(warp, value):
    for number in (np.array([value]), torch.tensor([value], dtype=torch.float64)):
        assert float(warp.invert(warp.apply(number))[0]) == pytest.approx(value, rel=1e-12, abs=1e-12)
    single = torch.tensor([value], dtype=torch.float32)
    # float32 rounds the warped value: its error grows with the slope of the inverse
    assert float(warp.invert(warp.apply(single))[0]) == pytest.approx(float(single), rel=2e-6, abs=2e-6)


@pytest.mark.parametrize("warp", WARPS)
@given(pair=st.tuples(rain, rain))
def test_warps_keep_the_order(warp, pair):
    low, high = (warp.apply(np.array([v]))[0] for v in sorted(pair))
    assert low <= high


@pytest.mark.parametrize("warp", WARPS)
def test_missing_values_stay_missing_and_types_are_kept(warp):
    values = np.array([np.nan, 2.0], dtype=np.float32)
    tensor = torch.from_numpy(values)
    for result in (warp.apply(values), warp.invert(values)):
        assert result.dtype == np.float32
        assert np.isnan(result[0])
        assert np.isfinite(result[1])
    assert warp.apply(tensor).dtype == torch.float32
    np.testing.assert_allclose(warp.apply(tensor).numpy(), warp.apply(values), rtol=1e-6)


@pytest.mark.parametrize("warp", WARPS)
def test_a_record_survives_json(warp):
    assert warp_from_dict(json.loads(json.dumps(warp.to_dict()))) == warp
    channel = Channel("tp", "mm", 0.25, 0.5, warp=warp, minimum=0.0)
    assert Channel.from_dict(json.loads(json.dumps(channel.to_dict()))) == channel


def test_knots_are_met_and_the_ends_continue():
    np.testing.assert_allclose(KNOTS.apply(np.array(KNOTS.values)), KNOTS.scores, atol=1e-15)
    beyond = KNOTS.apply(np.array([120.0 + 116.0]))
    assert float(beyond[0]) == pytest.approx(3.0 + 2.0)


@pytest.mark.parametrize("values", [torch.tensor([-3.0, 0.0, 2.0]), np.array([-3.0, 0.0, 2.0])])
def test_no_physical_value_is_below_the_least_one(values):
    channel = Channel("tp", "mm", mean=0.5, std=0.3, warp=Log1p(0.1), minimum=0.0)
    physical = channel.denormalize(values)
    assert float(physical.min()) == 0.0
    assert float(physical[2]) == pytest.approx(0.1 * np.expm1(1.1), rel=1e-6)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Log1p(0.0), "scale of log1p must be positive"),
        (lambda: Quantile((1.0, 1.0), (0.0, 1.0)), "rise strictly: got others; is the variable constant"),
        (lambda: Quantile((1.0,), (0.0,)), "two or more pairs: got 1 values, 1 scores"),
        (lambda: warp_from_dict({"kind": "cube"}), "one of identity, log1p, quantile: got 'cube'"),
        (lambda: warp_from_dict({"kind": "log1p", "factor": 1}), "log1p warp is described wrongly"),
        (lambda: Channel.from_dict({"name": "t", "colour": 1}), "channel is described wrongly"),
    ],
)
def test_mistakes_are_named(make, message):
    with pytest.raises(InputError, match=message):
        make()
