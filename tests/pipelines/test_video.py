# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
import sys

import numpy as np
import pytest
from matplotlib.image import imread
from test_scoring import write

from physicsnemo_fs.config.pictures import PictureConfig, VideoConfig
from physicsnemo_fs.errors import InputError
from physicsnemo_fs.pipelines import video as module
from physicsnemo_fs.pipelines.video import picture, video


@pytest.fixture(scope="module")
def rain(tmp_path_factory):
    return write(tmp_path_factory.mktemp("rain") / "rain.nc")


def test_a_picture_has_a_row_for_each_time(rain, tmp_path):
    options = {"path": str(rain), "maps": False}
    one = picture(PictureConfig(output=str(tmp_path / "one.png"), max_times=1, **options))
    three = picture(PictureConfig(output=str(tmp_path / "three.png"), members=2, **options))
    shapes = [imread(path).shape for path in (one, three)]
    assert shapes[1][0] > 2 * shapes[0][0]
    assert shapes[1][1] > shapes[0][1]


def test_a_time_is_chosen_by_its_name(rain, tmp_path):
    picture(PictureConfig(path=str(rain), output=str(tmp_path / "a.png"), times=["2020-01-03"], maps=False))
    with pytest.raises(InputError, match="must hold the time 2030-01-01"):
        picture(PictureConfig(path=str(rain), times=["2030-01-01"]))
    with pytest.raises(InputError, match="ISO times"):
        picture(PictureConfig(path=str(rain), times=["soon"]))


def test_what_is_not_there_is_told(rain):
    with pytest.raises(InputError, match="columns must be of coarse"):
        picture(PictureConfig(path=str(rain), columns=["trut"]))
    with pytest.raises(InputError, match="must hold 't2m'"):
        picture(PictureConfig(path=str(rain), variable="t2m"))
    with pytest.raises(InputError, match="must hold one of the columns"):
        picture(PictureConfig(path=str(rain), columns=["regression"]))


def test_a_video_without_encoder_names_the_extra(rain, monkeypatch):
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"install physicsnemo-fs\[video\]"):
        video(VideoConfig(path=str(rain)))


def test_a_video_has_a_frame_for_each_time(rain, tmp_path):
    imageio_ffmpeg = pytest.importorskip("imageio_ffmpeg")
    path = video(VideoConfig(path=str(rain), output=str(tmp_path / "v.mp4"), maps=False, dpi=50, fps=4.0))
    frames, seconds = imageio_ffmpeg.count_frames_and_secs(str(path))
    assert frames == 6
    assert seconds == pytest.approx(1.5)
    reader = imageio_ffmpeg.read_frames(str(path))
    width, height = next(reader)["size"]
    first = np.frombuffer(next(reader), dtype=np.uint8).reshape(height, width, 3)
    reader.close()
    assert first.std() > 10
    assert "imageio_ffmpeg" in sys.modules
