"""Every row that discovery found is as good as when it was found: a tiny model of its class, of other weights and
sizes, rotated by spinor as files and loaded by transformers, has the same logits; or the rotation is refused."""

import multiprocessing
import os

import pytest
import torch
import yaml

import rows

pytest.importorskip("spinor")  # PYTHONPATH=build/release/python

from spinor.discovery.discover import another  # noqa: E402
from spinor.discovery.proof import EXACT, prove  # noqa: E402
from spinor.discovery.tiny import causal_types, default_config, image_text_types  # noqa: E402

# In float32, too: of every few.
EVERY = 5


def shipped():
    """(kind, type) of each row that discovery wrote."""
    types = [("causal", one) for one in causal_types()] + [("image-text", one) for one in image_text_types()]
    return [one for one in types if rows.file_of(*one).exists() and rows.is_generated(rows.file_of(*one))]


SHIPPED = shipped()


def row_of(kind, model_type):
    return yaml.safe_load(rows.file_of(kind, model_type).read_text())


def run(job):
    """What is left of a rotation: errors and reasons, or what went wrong."""
    (kind, model_type), dtype = job
    torch.set_num_threads(1)
    try:
        proof = prove(another(default_config(model_type), kind), dtype=dtype)
    except Exception as error:  # noqa: BLE001: told by the test of that row
        return job, {}, {}, f"{type(error).__name__}: {error}"
    return job, proof.errors, proof.refused, ""


JOBS = [(one, torch.float64) for one in SHIPPED] + [(one, torch.float32) for one in SHIPPED[::EVERY]]


@pytest.fixture(scope="module")
def results():
    """Of all rows, in processes that import transformers once."""
    with multiprocessing.get_context("fork").Pool(os.cpu_count(), maxtasksperchild=20) as pool:
        return {job: found for job, *found in pool.imap_unordered(run, JOBS)}


@pytest.mark.parametrize("one, dtype", JOBS, ids=lambda part: "-".join(part) if isinstance(part, tuple) else str(part))
def test_a_row_is_exact(results, one, dtype):
    errors, refused, problem = results[one, dtype]
    assert not problem
    row = row_of(*one)
    assert set(errors) == {rotation for rotation in ("R1", "R2") if rotation in row["proof"]}
    assert set(refused) == {"R1", "R2"} - set(errors)
    assert all(error < EXACT[dtype] for error in errors.values()), errors


def test_most_decoders_have_a_row():
    """By hand or found; of each of the others it is said why not."""
    names = set()
    for path in rows.ROWS.glob("*.yaml"):
        found = yaml.safe_load(path.read_text())
        for row in found if isinstance(found, list) else [found]:
            names |= set(row["names"])
    missing = [one for one in causal_types() if not set(rows.class_names(one, "causal")) & names]
    assert missing == []
    undecided = yaml.safe_load(rows.UNDECIDED.read_text())
    assert all(row["reason"] for row in undecided)
    causal = {name for one in causal_types() for name in rows.class_names(one, "causal")}
    assert len(causal - {name for row in undecided for name in row["names"]}) >= 140
