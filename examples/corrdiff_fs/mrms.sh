#!/usr/bin/env bash
# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
#
# Radar rain rates (MRMS, GRIB2, 0.01 degrees) from cells 8 times coarser: build, train, generate and score on a region
# that was never trained on.
#
#   examples/corrdiff_fs/mrms.sh FOLDER_WITH_GRIB2_FILES [OUTPUT_FOLDER]
set -euo pipefail
data=$1
output=${2:-outputs/mrms}

physicsnemo-fs build output="$output/store.zarr" lowres_scale_factor=8 \
    fine.data_path="$data/*.grib2" fine.missing_value=-3 \
    'fine.variables=[{name:rain_rate,source:unknown,unit:mm h-1,long_name:rain rate}]' \
    'fine.transforms={rain_rate:{kind:log1p,scale:0.1,minimum:0}}' \
    "regions=[{name:great_lakes,box:[40.5,46.5,-92.5,-82.5],split:train},\
{name:north,box:[43,49,-112,-98],split:train},\
{name:gulf,box:[30,34.5,-90,-80.5],split:train},\
{name:midlands,box:[35,40,-92.5,-85.5],split:validation},\
{name:appalachia,box:[35,40,-85,-76],split:test,tile:[64,64]}]"

dataset=(dataset=store dataset.data_path="$output/store.zarr" 'dataset.patch_shape=[64,64]' dataset.patches_per_time=64)
physicsnemo-fs train "${dataset[@]}" run_dir="$output/run" dataset.cache_gib=1 model.boundary=pad \
    training.regression_hp.training_duration=7200 training.regression_hp.ema_halflife=1100 \
    training.diffusion_hp.training_duration=12800 training.diffusion_hp.ema_halflife=3000

generation=(run_dir="$output/run" generation.num_ensembles=16 generation.max_times=2 generation.picture=false)
physicsnemo-fs generate "${dataset[@]}" "${generation[@]}" sampler.num_steps=8 \
    generation.io.output_filename="$output/samples/ensemble.nc"
physicsnemo-fs generate "${dataset[@]}" "${generation[@]}" generation.inference_mode=dressed_interpolation \
    generation.io.output_filename="$output/interpolation/dressed.nc"
physicsnemo-fs score output="$output/scores" \
    "path=['$output/samples/*.nc','$output/interpolation/*.nc']"
