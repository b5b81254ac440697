"""Graph -> arrays: what predictors read of a network, under one versioned schema."""

from perfsage.features.arrays import (
    FEATURE_SCHEMA,
    GRAPH_COLUMNS,
    PHYSICAL_COLUMNS,
    GraphFeatures,
    load_features,
    save_features,
)
from perfsage.features.batch import FeatureBatch, batch_features
from perfsage.features.extract import extract_features, extract_many
from perfsage.features.operators import NODE_COLUMNS
from perfsage.features.types import TYPE_COUNT, type_index

__all__ = [
    "FEATURE_SCHEMA",
    "GRAPH_COLUMNS",
    "NODE_COLUMNS",
    "PHYSICAL_COLUMNS",
    "TYPE_COUNT",
    "FeatureBatch",
    "GraphFeatures",
    "batch_features",
    "extract_features",
    "extract_many",
    "load_features",
    "save_features",
    "type_index",
]
