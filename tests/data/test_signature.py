# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
import pytest

from physicsnemo_fs.data.signature import as_trained
from physicsnemo_fs.data.types import Channel
from physicsnemo_fs.data.warps import Log1p
from physicsnemo_fs.errors import InputError

KNOWN = {"tp": Channel("tp", "mm", 0.2, 0.5, warp=Log1p(0.1), minimum=0.0)}


def test_files_take_the_normalisation_of_the_training_and_keep_their_names():
    channel = as_trained(Channel("tp", "mm", long_name="rain"), KNOWN)
    assert (channel.mean, channel.std, channel.warp, channel.minimum) == (0.2, 0.5, Log1p(0.1), 0.0)
    assert channel.long_name == "rain"


def test_another_unit_or_an_unknown_variable_is_refused():
    with pytest.raises(InputError, match="'tp' must be in mm, as in training: the file has it in m"):
        as_trained(Channel("tp", "m"), KNOWN)
    assert as_trained(Channel("tp"), KNOWN, unit_given=False).unit == "mm"
    with pytest.raises(InputError, match="must know the variable 't2m': it was trained on tp"):
        as_trained(Channel("t2m"), KNOWN)
