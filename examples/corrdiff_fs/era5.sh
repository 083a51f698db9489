#!/usr/bin/env bash
# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
#
# Hourly 2 m temperature (ERA5, GRIB, 0.25 degrees) from cells 4 times coarser: trained on the file as it is, blocks of
# three days held out, half a day between the splits.
#
#   examples/corrdiff_fs/era5.sh FILE [OUTPUT_FOLDER]
set -euo pipefail
data=$1
output=${2:-outputs/era5}

dataset=(
    dataset=netcdf dataset.data_path="$data" 'dataset.target=[t2m]' dataset.lowres_scale_factor=4
    dataset.block=3d dataset.gap=12h dataset.validation_fraction=0.2 dataset.test_fraction=0.2
)
# 400 fields are few: a short training with dropout, so that the mean does not overfit
physicsnemo-fs train "${dataset[@]}" run_dir="$output/run" dataset.cache_gib=1 \
    model.boundary=pad 'model.level_grid=[32,16,8]' 'model.channel_mult=[2,6,8]' 'model.n_modes=[4,4,0]' \
    model.dropout=0.2 training.hp.lr_rampup=320 training.io.validation_freq=800 \
    training.regression_hp.training_duration=1600 training.regression_hp.ema_halflife=200 \
    training.diffusion_hp.training_duration=6400 training.diffusion_hp.ema_halflife=1000

generation=(run_dir="$output/run" generation.num_ensembles=16 generation.picture=false)
physicsnemo-fs generate "${dataset[@]}" "${generation[@]}" sampler.num_steps=8 \
    generation.io.output_filename="$output/ensemble.nc"
physicsnemo-fs generate "${dataset[@]}" "${generation[@]}" generation.inference_mode=dressed_interpolation \
    generation.io.output_filename="$output/dressed.nc"
physicsnemo-fs score output="$output/scores" "path=['$output/ensemble.nc','$output/dressed.nc']"
