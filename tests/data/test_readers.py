# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Readers of PhysicsNeMo's datapipes."""

import numpy as np
import pytest
from gridded_files import store, weather
from physicsnemo.datapipes import DataLoader, Dataset
from physicsnemo.datapipes.registry import COMPONENT_REGISTRY

from physicsnemo_fs.data.fields.readers import FSNetCDFReader, FSZarrReader


@pytest.mark.parametrize(("name", "kind"), [("a.nc", FSNetCDFReader), ("v3.zarr", FSZarrReader)])
def test_samples_are_variables_by_name(tmp_path, name, kind):
    dataset = weather()
    reader = kind(store(dataset, tmp_path / name), ["tp", "t2m"], region=[40, 42, -10, -7])
    assert COMPONENT_REGISTRY.get(kind.__name__) is kind
    assert len(reader) == 6
    assert reader.field_names == ["tp", "t2m"]
    sample, metadata = reader[-1]
    assert np.array_equal(sample["tp"].numpy(), dataset.tp[5, :4, :6].values)
    assert metadata == {"time": "2020-01-01T05:00:00.000000000", "index": 5}


def test_physicsnemo_loads_them_in_threads(tmp_path):
    dataset = weather()
    source = Dataset(FSNetCDFReader(store(dataset, tmp_path / "a.nc"), ["t2m"]), num_workers=2)
    batches = list(DataLoader(source, batch_size=3, prefetch_factor=2))
    assert np.array_equal(np.concatenate([b["t2m"].numpy() for b in batches]), dataset.t2m.values)
    source.close()
