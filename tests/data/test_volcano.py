# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Volcano interferograms: files of the published layout, 128 x 128 complex64."""

import numpy as np
import pytest
from published_files import phase, save_interferograms

from physicsnemo_fs.data.datasets.volcano import PHASE, VolcanoFields, volcano_blocks, volcano_labels
from physicsnemo_fs.data.splits import block_numbers
from physicsnemo_fs.data.types import Fields
from physicsnemo_fs.errors import InputError
from physicsnemo_fs.testing import assert_close


@pytest.fixture
def folder(tmp_path):
    return save_interferograms(tmp_path)


def test_values_are_the_cosine_and_sine_of_the_cropped_phase(folder):
    fields = VolcanoFields(folder)
    values = fields.read([7, 2])
    assert isinstance(fields, Fields)
    assert (values.shape, values.dtype) == ((2, 2, 120, 120), np.float32)
    assert_close(values[0, 0], np.cos(phase(7))[:120, :120], 1e-6)
    assert_close(values[1, 1], np.sin(phase(2))[:120, :120], 1e-6)


def test_a_window_is_a_part_of_the_whole(folder):
    fields = VolcanoFields(folder)
    part = fields.read([1], (slice(8, 20), slice(100, 120)))
    np.testing.assert_array_equal(part, fields.read([1])[..., 8:20, 100:120])


def test_coarser_values_are_averages_of_the_phasor(folder):
    fine, coarse = VolcanoFields(folder), VolcanoFields(folder, 60)
    assert coarse.grid.extent == fine.grid.extent
    mean = fine.read([3]).reshape(1, 2, 60, 2, 60, 2).mean(axis=(3, 5))
    assert_close(coarse.read([3]), mean, 1e-6)


def test_an_unknown_phase_is_missing_in_both_channels(folder):
    path = folder / "volcano_0" / "0.int"
    values = np.fromfile(path, "<c8").reshape(128, 128)
    values[0, 0], values[1, 1] = 0, np.nan
    values.tofile(path)
    missing = np.isnan(VolcanoFields(folder).read([0])[0])
    assert np.argwhere(missing).tolist() == [[0, 0, 0], [0, 1, 1], [1, 0, 0], [1, 1, 1]]


def test_normalised_phases_have_unit_mean_square(folder):
    cosine, sine = (channel.normalize(values) for channel, values in zip(PHASE, phase_parts(folder), strict=True))
    assert float((cosine**2 + sine**2).mean()) == pytest.approx(2.0, rel=1e-6)


def phase_parts(folder):
    return VolcanoFields(folder).read(range(10)).swapaxes(0, 1)


def test_folders_stay_whole(folder):
    files = VolcanoFields(folder).files
    labels = volcano_labels(files, 0.6, 0.2)
    assert labels.tolist() == [0] * 6 + [1] * 2 + [2] * 2
    assert volcano_blocks(files).tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    assert block_numbers(VolcanoFields(folder).times, np.timedelta64(1, "D")).tolist() == [
        10957 + index // 2 for index in range(10)
    ]


def test_one_folder_is_divided(folder):
    files = sorted((folder / "volcano_0").iterdir()) * 5
    assert np.bincount(volcano_labels(files)).tolist() == [8, 1, 1]
    with pytest.raises(InputError, match="every split needs"):
        volcano_labels(files, 1.0, 0.0)


def test_files_of_another_kind_are_refused(folder):
    with pytest.raises(InputError, match="must divide 120"):
        VolcanoFields(folder, 64)
    with pytest.raises(InputError, match=r"has none"):
        VolcanoFields(folder / "nowhere")
    path = folder / "volcano_3" / "6.int"
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(InputError, match=r"131072 bytes.*6\.int has 131064"):
        VolcanoFields(folder)


def test_a_file_that_shrinks_later_is_noticed(folder):
    fields = VolcanoFields(folder)
    fields.files[4].write_bytes(b"")
    with pytest.raises(InputError, match="complex numbers"):
        fields.read([4])
