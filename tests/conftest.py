"""Fixtures shared by the Python tests."""

import functools

import pytest
import torch

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
