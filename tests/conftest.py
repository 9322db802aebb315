"""Fixtures shared by the Python tests."""

import functools

import pytest
import torch

import learned_models
import logits
import tiny_models

torch.set_num_threads(1)  # ctest runs tests side by side


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """(family, shape, dtype) -> directory of a saved tiny model and its logits; each made once."""

    @functools.cache
    def made(family, shape, dtype, max_shard_size="5GB"):
        directory = tmp_path_factory.mktemp(f"{family}-{shape}")
        tiny_models.save(directory, family, shape, dtype, max_shard_size)
        return directory, logits.logits(logits.load(directory, dtype))

    return made


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """(family, dtype, shape) -> directory of a saved tiny model that has something to learn; each made once."""
    made = {}

    def get(family="llama", dtype=torch.float32, shape=None):
        key = family, dtype, shape
        if key not in made:
            made[key] = tmp_path_factory.mktemp(family) / "model"
            learned_models.outliers(
                tiny_models.make(family, shape or learned_models.case_of(family), dtype)
            ).save_pretrained(made[key])
        return made[key]

    return get
