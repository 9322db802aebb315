"""Writes shards.json: a tiny model as transformers 5.23 saves it, whole and with several max_shard_size.

usage: python make_shards.py
"""

import json
import pathlib
import tempfile

import torch
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.utils import logging

SIZES = ["1MB", "12KB", "8KB", "4.1KB", "2KB", "300"]  # the last two are smaller than the largest tensors

logging.disable_progress_bar()
config = LlamaConfig(
    hidden_size=24, intermediate_size=40, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
    vocab_size=48, tie_word_embeddings=False, dtype="bfloat16",
)  # fmt: skip
model = LlamaForCausalLM(config).to(torch.bfloat16)
model.model.norm.to(torch.float32)

saved = {}
for size in SIZES:
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder, max_shard_size=int(size) if size.isdigit() else size)
        folder = pathlib.Path(folder)
        index = folder / "model.safetensors.index.json"
        headers = {}
        for path in sorted(folder.glob("*.safetensors")):
            data = path.read_bytes()
            headers[path.name] = data[8 : 8 + int.from_bytes(data[:8], "little")].decode()
        saved[size] = {"index": index.read_text() if index.exists() else "", "headers": headers}

dtypes = {torch.bfloat16: "BF16", torch.float32: "F32"}
tensors = [{"name": n, "dtype": dtypes[t.dtype], "shape": list(t.shape)} for n, t in model.state_dict().items()]
golden = pathlib.Path(__file__).parent / "shards.json"
golden.write_text(json.dumps({"tensors": tensors, "saved": saved}, indent=1) + "\n")
