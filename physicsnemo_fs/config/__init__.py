# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Typed configuration: every key, its type, its default and its meaning, in one place.

The YAML files of ``conf/`` are presets of these schemas; Hydra composes them, and an unknown key or a wrong type
fails before anything runs.
"""

from dataclasses import fields, is_dataclass
from typing import Any

from hydra.core.config_store import ConfigStore

from physicsnemo_fs.config.build import BuildConfig
from physicsnemo_fs.config.corrdiff import REPLACED_CONFIGS, REPLACED_KEYS, replacement
from physicsnemo_fs.config.datasets import (
    DatasetConfig,
    KolmogorovDatasetConfig,
    NSRe40DatasetConfig,
    PluginDatasetConfig,
)
from physicsnemo_fs.config.export import ExportConfig
from physicsnemo_fs.config.generation import (
    DemoConfig,
    GenerateConfig,
    GenerationConfig,
    GenerationIOConfig,
    GenerationPerformanceConfig,
    SamplerConfig,
)
from physicsnemo_fs.config.gridded import NetCDFDatasetConfig, ZarrDatasetConfig
from physicsnemo_fs.config.keys import check_values, key, nearest
from physicsnemo_fs.config.models import ConvUNetConfig, CorrDiffUNetConfig, FSUNOConfig, ModelConfig, NoiseConfig
from physicsnemo_fs.config.patches import PatchConfig, PatchGeneration, PatchHyperParameters
from physicsnemo_fs.config.pictures import PictureConfig, VideoConfig
from physicsnemo_fs.config.published import (
    CWADatasetConfig,
    GEFSHRRRDatasetConfig,
    HRRRMiniDatasetConfig,
    VolcanoDatasetConfig,
)
from physicsnemo_fs.config.scores import CompareConfig, MergeConfig, ScoreConfig
from physicsnemo_fs.config.stored import StoreDatasetConfig
from physicsnemo_fs.config.training import (
    HyperParameters,
    PerformanceConfig,
    StageHyperParameters,
    TrainConfig,
    TrainingConfig,
    TrainingIOConfig,
    TrainingPerformanceConfig,
    stage_hyperparameters,
    stage_patch,
)

SCHEMAS: dict[str, type] = {
    "train": TrainConfig,
    "generate": GenerateConfig,
    "score": ScoreConfig,
    "compare": CompareConfig,
    "merge": MergeConfig,
    "picture": PictureConfig,
    "video": VideoConfig,
    "demo": DemoConfig,
    "build": BuildConfig,
    "export": ExportConfig,
}
GROUPS: dict[str, dict[str, type]] = {
    "dataset": {
        "kolmogorov": KolmogorovDatasetConfig,
        "ns_re40": NSRe40DatasetConfig,
        "netcdf": NetCDFDatasetConfig,
        "zarr": ZarrDatasetConfig,
        "hrrr_mini": HRRRMiniDatasetConfig,
        "cwb": CWADatasetConfig,
        "gefs_hrrr": GEFSHRRRDatasetConfig,
        "volcano": VolcanoDatasetConfig,
        "plugin": PluginDatasetConfig,
        "store": StoreDatasetConfig,
    },
    "model": {"fsuno": FSUNOConfig, "conv_unet": ConvUNetConfig, "corrdiff_unet": CorrDiffUNetConfig},
}
MAPPINGS = (
    ".options",
    ".transforms",
    ".missing",
    ".select",
    ".regions",
    ".periods",
    "names",
    "units",
    "data",
    "thresholds",
    "areas",
    "ranges",
)
"""Keys whose values are mappings with keys of the user's own."""


def register_schemas() -> None:
    """Make the schemas known to Hydra, as ``<name>_schema``."""
    store = ConfigStore.instance()
    for name, schema in SCHEMAS.items():
        store.store(name=f"{name}_schema", node=schema)
    for group, members in GROUPS.items():
        for name, schema in members.items():
            store.store(group=group, name=f"{name}_schema", node=schema)


def known_keys(schema: Any, prefix: str = "") -> list[str]:
    """List every dotted key of a schema, sub-schemas of the groups included.

    Example:
        >>> "sampler.num_steps" in known_keys(GenerateConfig)
        True
    """
    keys = []
    for f in fields(schema):
        name = prefix + f.name
        keys.append(name)
        value = getattr(schema, f.name, None) if not isinstance(schema, type) else None
        default = f.default_factory() if callable(f.default_factory) else value
        for sub in GROUPS.get(f.name, {}).values():
            keys += known_keys(sub, name + ".")
        if is_dataclass(default) and f.name not in GROUPS:
            keys += known_keys(default, name + ".")
    return list(dict.fromkeys(keys))


def is_known(name: str, schema: Any) -> bool:
    """Tell whether a dotted key is one of a schema's, or lies within one that takes any mapping.

    Example:
        >>> is_known("dataset.options.depth", TrainConfig), is_known("dataset.depth", TrainConfig)
        (True, False)
    """
    known = known_keys(schema)
    parents = [name[:i] for i, letter in enumerate(name) if letter == "."]
    return name in known or any(parent in known and parent.endswith(MAPPINGS) for parent in parents)


def check_groups(config: Any) -> None:
    """Require each group's own name to be that of its schema.

    Raises:
        ValueError: If ``dataset.type`` or ``model.name`` was set to another member; a plugin's type is its own.
    """
    for group, label in (("dataset", "type"), ("model", "name")):
        chosen = getattr(config, group, None)
        if isinstance(chosen, PluginDatasetConfig) and chosen.type not in GROUPS[group]:
            continue
        if chosen is not None and type(chosen) is not GROUPS[group].get(getattr(chosen, label)):
            raise ValueError(
                f"{group}.{label}={getattr(chosen, label)} does not choose a {group}: give {group}=<name>, "
                f"one of {', '.join(GROUPS[group])}"
            )


register_schemas()

__all__ = [
    "GROUPS",
    "REPLACED_CONFIGS",
    "REPLACED_KEYS",
    "SCHEMAS",
    "BuildConfig",
    "CWADatasetConfig",
    "CompareConfig",
    "ConvUNetConfig",
    "CorrDiffUNetConfig",
    "DatasetConfig",
    "DemoConfig",
    "ExportConfig",
    "FSUNOConfig",
    "GEFSHRRRDatasetConfig",
    "GenerateConfig",
    "GenerationConfig",
    "GenerationIOConfig",
    "GenerationPerformanceConfig",
    "HRRRMiniDatasetConfig",
    "HyperParameters",
    "KolmogorovDatasetConfig",
    "MergeConfig",
    "ModelConfig",
    "NSRe40DatasetConfig",
    "NetCDFDatasetConfig",
    "NoiseConfig",
    "PatchConfig",
    "PatchGeneration",
    "PatchHyperParameters",
    "PerformanceConfig",
    "PictureConfig",
    "PluginDatasetConfig",
    "SamplerConfig",
    "ScoreConfig",
    "StageHyperParameters",
    "StoreDatasetConfig",
    "TrainConfig",
    "TrainingConfig",
    "TrainingIOConfig",
    "TrainingPerformanceConfig",
    "VideoConfig",
    "VolcanoDatasetConfig",
    "ZarrDatasetConfig",
    "check_groups",
    "check_values",
    "is_known",
    "key",
    "known_keys",
    "nearest",
    "register_schemas",
    "replacement",
    "stage_hyperparameters",
    "stage_patch",
]
