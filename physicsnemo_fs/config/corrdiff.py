# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""What replaces CorrDiff's names."""

REPLACED_KEYS = {
    "training.io.checkpoint_dir": "every file of a run is below run_dir",
    "training.hp.lr_rampup_img": "training.hp.lr_rampup, in images",
    "training.perf.dataloader_workers": "training.perf.data_workers, in threads, and training.perf.prefetch",
    "training.perf.songunet_checkpoint_level": "there is no activation checkpointing; leave it out",
    "sampler.type": "sampler.S_churn: 0 is CorrDiff's deterministic sampler, above 0 its stochastic one",
    "generation.perf.force_fp16": "perf.fp_optimizations=amp-bf16",
    "generation.perf.use_fp16": "perf.fp_optimizations=amp-bf16",
    "generation/sampler": "the keys of sampler directly: sampler.S_churn=0 is CorrDiff's deterministic sampler",
    "generation.has_lead_time": "the dataset says whether it has lead times; leave it out",
    "n_ensemble": "max_members",
    "generation.perf.use_torch_compile": "perf.torch_compile",
    "generation.perf": "perf.fp_optimizations and perf.num_threads",
    "generation.hr_mean_conditioning": "the checkpoint says whether it takes the mean; leave it out",
    "generation.patching": "the checkpoint says whether it works on windows; leave it out",
    "training.hp.lr_decay_rate": "training.hp.lr_decay=cosine or constant",
    "training.io.validation_steps": "training.io.validation_samples",
    "model_size": "model.model_channels and model.channel_mult",
    "model.model_args": "the keys of model directly, such as model.model_channels",
    "wandb": "TensorBoard and log.jsonl are always written; leave it out",
    "dataset.stats_path": "statistics are measured on the training split; the published datasets take their file",
    "dataset.ds_factor": "dataset.lowres_scale_factor",
    "dataset.sample_shape": "dataset.patch_shape",
    "dataset.train": "the command chooses the split",
    "dataset.shard": "ranks share the samples by themselves; leave it out",
    "dataset.overfit": "a short dataset.period; leave it out",
    "dataset.use_all": "dataset.all_times=true",
    "dataset.normalize": "data is always normalised; leave it out",
    "dataset.roll": "leave it out",
    "dataset.add_grid": "model.coord_features",
    "dataset.min_path": "the statistics of dataset.stats_path; leave it out",
    "dataset.max_path": "the statistics of dataset.stats_path; leave it out",
    "dataset.global_means_path": "the statistics of dataset.stats_path; leave it out",
    "dataset.global_stds_path": "the statistics of dataset.stats_path; leave it out",
}
REPLACED_CONFIGS = {
    "config_training_mini_regression": "use config_train with stage=regression and a dataset",
    "config_training_mini_diffusion": "use config_train with stage=diffusion and a dataset",
    "config_generate_mini": "use config_generate with a dataset",
    "config_training_hrrr_mini": "use config_train with dataset=hrrr_mini and a stage",
    "config_generate_hrrr_mini": "use config_generate with dataset=hrrr_mini",
}


def replacement(name: str, table: dict[str, str]) -> str | None:
    """Give what replaces a name of CorrDiff's: by the longest entry that the name starts with.

    Example:
        >>> replacement("wandb.mode", REPLACED_KEYS)
        'TensorBoard and log.jsonl are always written; leave it out'
    """
    matches = [entry for entry in table if name.startswith(entry)]
    return table[max(matches, key=len)] if matches else None
