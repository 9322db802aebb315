#!/usr/bin/env python3
"""Rotates a checkpoint with llm-compressor. Runs in the environment of requirements-peer.txt.

peer_rotate.py MODEL OUT TRANSFORM_TYPE [ROTATIONS]
"""

import sys

from llmcompressor import oneshot
from llmcompressor.modifiers.transform import SpinQuantModifier
from transformers import AutoModelForCausalLM


def rotate(model, transform_type, rotations=("R1", "R2")):
    oneshot(
        model=model,
        recipe=SpinQuantModifier(rotations=list(rotations), transform_type=transform_type),
        pipeline="datafree",
    )


if __name__ == "__main__":
    source, out, transform_type, *rotations = sys.argv[1:]
    model = AutoModelForCausalLM.from_pretrained(source, dtype="auto")
    rotate(model, transform_type, rotations[0].split(",") if rotations else ("R1", "R2"))
    model.save_pretrained(out)
