#!/usr/bin/env python3
"""Runs a recipe with llm-compressor, without data. Runs in the environment of requirements-peer.txt.

peer_oneshot.py MODEL OUT RECIPE
"""

import sys

from llmcompressor import oneshot
from transformers import AutoModelForCausalLM

if __name__ == "__main__":
    source, out, recipe = sys.argv[1:]
    model = AutoModelForCausalLM.from_pretrained(source, dtype="auto")
    oneshot(model=model, recipe=recipe, pipeline="datafree")
    model.save_pretrained(out, save_compressed=True)
