#!/usr/bin/env bash
# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
#
# Hourly 2 m temperature (ERA5, GRIB, 0.25 degrees) from cells 4 times coarser: build, train west of 2 degrees west, score
# east of it, on days that were not trained on either.
#
#   examples/corrdiff_fs/era5.sh FILE [OUTPUT_FOLDER]
set -euo pipefail
data=$1
output=${2:-outputs/era5}

physicsnemo-fs build output="$output/store.zarr" lowres_scale_factor=4 fine.data_path="$data" 'fine.variables=[t2m]' \
    splits.block=3d splits.validation=0.2 splits.test=0.2 splits.gap=12h \
    "regions=[{name:west,box:[49.8,57.9,-10.2,-2.1]},\
{name:east,box:[49.8,57.9,-2.2,1.9],split:test,tile:[16,16]}]"

dataset=(dataset=store dataset.data_path="$output/store.zarr" 'dataset.patch_shape=[16,16]' dataset.block=3d)
# 400 fields of one small region are few: a short training of the mean, with dropout, so that it does not overfit
physicsnemo-fs train "${dataset[@]}" run_dir="$output/run" dataset.patches_per_time=16 dataset.cache_gib=1 \
    model.boundary=pad 'model.level_grid=[16,8,4]' 'model.channel_mult=[2,6,8]' 'model.n_modes=[4,4,0]' \
    model.dropout=0.2 training.hp.lr_rampup=320 training.io.validation_freq=1600 \
    training.regression_hp.training_duration=6400 training.regression_hp.ema_halflife=800 \
    training.diffusion_hp.training_duration=16000 training.diffusion_hp.ema_halflife=3000

generation=(run_dir="$output/run" 'dataset.regions={test:[east_00_00,east_01_00]}' generation.num_ensembles=16
    generation.picture=false)
physicsnemo-fs generate "${dataset[@]}" "${generation[@]}" sampler.num_steps=8 \
    generation.io.output_filename="$output/samples/ensemble.nc"
physicsnemo-fs generate "${dataset[@]}" "${generation[@]}" generation.inference_mode=dressed_interpolation \
    generation.io.output_filename="$output/interpolation/dressed.nc"
physicsnemo-fs score output="$output/scores" "path=['$output/samples/*.nc','$output/interpolation/*.nc']"
