#!/usr/bin/env python3
"""Runs a recipe with llm-compressor. Runs in the environment of requirements-peer.txt.

peer_oneshot.py MODEL OUT RECIPE                  without data
peer_oneshot.py MODEL OUT RECIPE TOKENS CONTEXT   calibrated on a JSON list of tokens, samples of CONTEXT each
"""

import json
import sys

from datasets import Dataset
from llmcompressor import oneshot
from transformers import AutoModelForCausalLM, AutoTokenizer


def calibration(source, tokens, context):
    with open(tokens) as file:
        ids = json.load(file)
    samples = [ids[i : i + context] for i in range(0, len(ids) - context + 1, context)]
    rows = {"input_ids": samples, "attention_mask": [[1] * context for _ in samples]}
    return {
        "dataset": Dataset.from_dict(rows),
        "processor": AutoTokenizer.from_pretrained(source),
        "num_calibration_samples": len(samples),
        "max_seq_length": context,
        "shuffle_calibration_samples": False,
        "pipeline": "sequential",
    }


if __name__ == "__main__":
    source, out, recipe, *data = sys.argv[1:]
    model = AutoModelForCausalLM.from_pretrained(source, dtype="auto")
    more = calibration(source, data[0], int(data[1])) if data else {"pipeline": "datafree"}
    oneshot(model=model, recipe=recipe, **more)
    model.save_pretrained(out, save_compressed=True)
    if data:
        more["processor"].save_pretrained(out)
