#!/usr/bin/env python3
"""Several processes: `spinor rotate`, and GPTQ, by N ranks of one thread each against one process of N threads, in
turn, both ending in fsync; and, on paper, what each of 64 ranks would do on the shapes of large models.

    ranks_bench.py build/spinor MODEL ... [--ranks 2] [--rounds 7] [--gptq ROUNDS] [--directory DIR]
    ranks_bench.py build/spinor --plan [--directory DIR]

MODEL is a checkpoint, or one of the shapes of make_checkpoint.py; GPTQ is W4A16 of checkpoints, on 16 x 512 random
tokens. Prints markdown. The checkpoints for --plan are
sparse files: names and shapes, no numbers. Ratios are medians of the ratios of neighbours.
"""

import argparse
import json
import os
import random
import shutil
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path

import make_checkpoint
from rotate_bench import prepare_cache

OPTIONS = ["--rotations", "R1,R2", "--transform-type", "random-hadamard", "--quiet"]
GPTQ = """quant_stage:
  quant_modifiers:
    GPTQModifier:
      ignore: [lm_head]
      config_groups:
        group_0: {targets: [Linear], weights: {num_bits: 4, strategy: group, group_size: 64, symmetric: true}}
"""
LARGE = {
    "llama-405b": {
        **make_checkpoint.SHAPES["llama-8b"],
        "hidden_size": 16384,
        "num_hidden_layers": 126,
        "num_attention_heads": 128,
        "intermediate_size": 53248,
    }
}
DEEPSEEK = {
    "architectures": ["DeepseekV3ForCausalLM"],
    "model_type": "deepseek_v3",
    "hidden_act": "silu",
    "hidden_size": 7168,
    "num_hidden_layers": 61,
    "num_attention_heads": 128,
    "num_key_value_heads": 128,
    "intermediate_size": 18432,
    "moe_intermediate_size": 2048,
    "n_routed_experts": 256,
    "n_shared_experts": 1,
    "num_experts_per_tok": 8,
    "n_group": 8,
    "topk_group": 4,
    "norm_topk_prob": True,
    "routed_scaling_factor": 2.5,
    "scoring_func": "sigmoid",
    "topk_method": "noaux_tc",
    "first_k_dense_replace": 3,
    "q_lora_rank": 1536,
    "kv_lora_rank": 512,
    "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64,
    "v_head_dim": 128,
    "vocab_size": 129280,
    "max_position_embeddings": 4096,
    "rms_norm_eps": 1e-06,
    "rope_theta": 10000,
    "attention_bias": False,
    "tie_word_embeddings": False,
    "num_nextn_predict_layers": 0,
    "dtype": "bfloat16",
}


def deepseek_tensors(config):
    hidden, heads, low = config["hidden_size"], config["num_attention_heads"], config["kv_lora_rank"]
    nope, rope, value = config["qk_nope_head_dim"], config["qk_rope_head_dim"], config["v_head_dim"]

    def mlp(prefix, inner):
        yield prefix + "gate_proj.weight", (inner, hidden)
        yield prefix + "up_proj.weight", (inner, hidden)
        yield prefix + "down_proj.weight", (hidden, inner)

    yield "model.embed_tokens.weight", (config["vocab_size"], hidden)
    for layer in range(config["num_hidden_layers"]):
        prefix = f"model.layers.{layer}."
        yield prefix + "input_layernorm.weight", (hidden,)
        yield prefix + "self_attn.q_a_proj.weight", (config["q_lora_rank"], hidden)
        yield prefix + "self_attn.q_a_layernorm.weight", (config["q_lora_rank"],)
        yield prefix + "self_attn.q_b_proj.weight", (heads * (nope + rope), config["q_lora_rank"])
        yield prefix + "self_attn.kv_a_proj_with_mqa.weight", (low + rope, hidden)
        yield prefix + "self_attn.kv_a_layernorm.weight", (low,)
        yield prefix + "self_attn.kv_b_proj.weight", (heads * (nope + value), low)
        yield prefix + "self_attn.o_proj.weight", (hidden, heads * value)
        yield prefix + "post_attention_layernorm.weight", (hidden,)
        if layer < config["first_k_dense_replace"]:
            yield from mlp(prefix + "mlp.", config["intermediate_size"])
            continue
        yield prefix + "mlp.gate.weight", (config["n_routed_experts"], hidden)
        yield prefix + "mlp.gate.e_score_correction_bias", (config["n_routed_experts"],)
        for expert in range(config["n_routed_experts"]):
            yield from mlp(f"{prefix}mlp.experts.{expert}.", config["moe_intermediate_size"])
        yield from mlp(prefix + "mlp.shared_experts.", config["moe_intermediate_size"])
    yield "model.norm.weight", (hidden,)
    yield "lm_head.weight", (config["vocab_size"], hidden)


def sparse(config, tensors, directory):
    """A checkpoint of zeros that takes no disk."""
    directory.mkdir(parents=True)
    weight_map = {}
    for number, shard in enumerate(make_checkpoint.shards_of(list(tensors), 5 * 10**9), 1):
        name = f"model-{number:05}.safetensors"
        header = make_checkpoint.header_of(shard)
        with open(directory / name, "wb") as file:
            file.write(header)
            file.truncate(len(header) + sum(make_checkpoint.size_of(shape) for _, shape in shard))
        weight_map.update({tensor: name for tensor, _ in shard})
    (directory / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    (directory / "config.json").write_text(json.dumps(config))
    return directory


def planned(given, work):
    llama = {**make_checkpoint.COMMON, **LARGE["llama-405b"]}
    models = {
        "Llama-3.1-405B": (llama, make_checkpoint.tensors_of(llama)),
        "DeepSeek-V3": (DEEPSEEK, deepseek_tensors(DEEPSEEK)),
    }
    of_data = []
    print("\n| | ranks | reads and writes a rank | largest share | memory a rank | plan takes |")
    print("|---|---|---|---|---|---|", flush=True)
    for name, (config, tensors) in models.items():
        model = sparse(config, tensors, work / name)
        of_data += planned_gptq(given, name, model, work)
        for scheme in ([], ["--scheme", "W4A16"]):
            for ranks in (1, 8, 64, 512):
                command = ["quantize" if scheme else "rotate", name, f"{ranks} ranks"]
                start = time.perf_counter()
                done = subprocess.run(
                    [given.spinor, "plan", model, *OPTIONS[:4], *scheme, "--ranks", str(ranks), "--bandwidth", "1GB/s",
                     "--threads", "8", "--json"], capture_output=True, text=True)
                seconds = time.perf_counter() - start
                if done.returncode:
                    sys.exit(f"{command}\n{done.stderr}")
                shares = json.loads(done.stdout)["ranks"]
                moved = [share["read"] + share["written"] for share in shares]
                even, most = sum(moved) / len(moved), max(moved)
                print(f"| {name}, {' '.join(scheme) or 'rotate'} | {ranks} | {even / 1e9:.1f} GB | {most / even:.2f} |"
                      f" {shares[0]['memory'] / 1e6:.0f} MB | {seconds:.1f} s |", flush=True)
        shutil.rmtree(model)
    print(f"\n| GPTQ, 128 x 2048 | ranks | samples, PFLOP a rank | codes | sends | memory | at {given.flops}, 1 GB/s |")
    print("|---|---|---|---|---|---|---|")
    print(*of_data, sep="\n", flush=True)


def planned_gptq(given, name, model, work):
    recipe, rows = work / "gptq.yaml", []
    recipe.write_text(GPTQ)
    for ranks in (1, 8, 32, 128):
        done = subprocess.run(
            [given.spinor, "plan", model, "--recipe", recipe, "--ranks", str(ranks), "--bandwidth", "1GB/s", "--flops",
             given.flops, "--json"], capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"{name}, {ranks} ranks\n{done.stderr}")
        plan = json.loads(done.stdout)["calibration"]
        rows.append(f"| {name} | {ranks} | {plan['sample_flops'] / 1e15:.2f} | {plan['code_flops'] / 1e15:.3f} |"
                    f" {plan['sent'] / 1e9:.0f} GB | {plan['memory'] / 1e9:.0f} GB | {plan['seconds'] / 3600:.1f} h |")
    return rows


def timed(commands):
    """Seconds until all have ended."""
    start = time.perf_counter()
    processes = [subprocess.Popen(list(map(str, command)), env=env, stderr=subprocess.PIPE, text=True)
                 for command, env in commands]
    for process in processes:
        if said := process.communicate()[1]:
            sys.exit(said)
    return time.perf_counter() - start


def gptq(given, source, work):
    recipe, tokens = work / "gptq.yaml", work / "tokens.json"
    recipe.write_text(GPTQ)
    tokens.write_text(json.dumps(random.Random(1).choices(range(1000), k=16 * 512)))
    data = ["--calibration", tokens, "--calibration-samples", 16, "--calibration-context", 512]
    return [given.spinor, "quantize", source, work / "out", "--recipe", recipe, *data, "--quiet", "--threads"]


def meeting():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}


def compared(given, source, command, rounds):
    rows, out = [], Path(command[3])
    for _ in range(rounds):
        row = []
        for ranks, threads in ((1, given.ranks), (given.ranks, 1)):
            prepare_cache(source, "warm")
            where = meeting()
            variables = [{**where, "RANK": str(rank), "WORLD_SIZE": str(ranks)} for rank in range(ranks)]
            row.append(timed([([*command, threads], {**os.environ, **more}) for more in variables]))
            shutil.rmtree(out)
        rows.append(row)
    one, many = (statistics.median(column) for column in zip(*rows, strict=True))
    ratio = statistics.median(row[1] / row[0] for row in rows)
    print(f"| {command[1]} {Path(source).name} | {one:.2f} | {many:.2f} | {ratio:.2f} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("spinor")
    parser.add_argument("models", nargs="*")
    parser.add_argument("--plan", action="store_true")
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--gptq", type=int, default=0)
    parser.add_argument("--flops", default="100G/s")
    parser.add_argument("--directory", type=Path, default=Path(".cache/ranks"))
    given = parser.parse_args()
    given.directory.mkdir(parents=True, exist_ok=True)
    try:
        if given.plan:
            planned(given, given.directory)
        if given.models:
            print(f"\n| | one process, {given.ranks} threads, s | {given.ranks} ranks of one, s | ratio |")
            print("|---|---|---|---|", flush=True)
        for model in given.models:
            if model in make_checkpoint.SHAPES:
                model = make_checkpoint.make(model, given.directory / model)
            rotate = [given.spinor, "rotate", model, given.directory / "out", *OPTIONS, "--threads"]
            compared(given, model, rotate, given.rounds)
            if given.gptq and (Path(model) / "tokenizer.json").exists():
                compared(given, model, gptq(given, model, given.directory), given.gptq)
    finally:
        shutil.rmtree(given.directory)


if __name__ == "__main__":
    main()
