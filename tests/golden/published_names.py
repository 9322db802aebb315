"""How published files name their tensors where save_pretrained names them otherwise; for make_tensor_names.py.

A function takes name -> sizes, as saved, and the config. Sizes may end with a type."""

import re


def layers(config):
    text = config.get("text_config", config)
    return range(text.get("num_hidden_layers", config.get("n_layer")))


def with_buffers(tensors, config, prefix, buffers):
    return tensors | {f"{prefix}{i}.{name}": shape for i in layers(config) for name, shape in buffers.items()}


def llama2(tensors, config):
    return with_buffers(tensors, config, "model.layers.", {"self_attn.rotary_emb.inv_freq": (64, "F32")})


def gpt2(tensors, config):
    plain = {name.removeprefix("transformer."): shape for name, shape in tensors.items()}
    return with_buffers(plain, config, "h.", {"attn.bias": (1, 1, 1024, 1024)})


def neox(tensors, config):
    half = config["hidden_size"] // config["num_attention_heads"] // 8  # a quarter of the head rotates, in pairs
    buffers = {"bias": (1, 1, 2048, 2048, "U8"), "masked_bias": (), "rotary_emb.inv_freq": (half,)}
    return with_buffers(tensors, config, "gpt_neox.layers.", {f"attention.{n}": shape for n, shape in buffers.items()})


def with_head(tensors, config):
    width = config.get("word_embed_proj_dim", config["hidden_size"])
    return tensors | {"lm_head.weight": (config["vocab_size"], width)}


def opt_bare(tensors, config):
    return {name.removeprefix("model."): shape for name, shape in tensors.items()}


def like_last_layer(tensors, config, layer, target):
    """The tensors of one layer under another name: the decoder layer of a head that predicts further tokens."""
    prefix = f"model.layers.{layer}."
    return {target + name.removeprefix(prefix): shape for name, shape in tensors.items() if name.startswith(prefix)}


def next_token_head(tensors, config, shared=True):
    last, hidden = layers(config)[-1], config["hidden_size"]
    prefix = f"model.layers.{last + 1}."
    more = {"enorm.weight": (hidden,), "hnorm.weight": (hidden,), "eh_proj.weight": (hidden, 2 * hidden)}
    more |= {"shared_head.norm.weight": (hidden,)}
    if shared:
        more |= {name: (config["vocab_size"], hidden) for name in ("embed_tokens.weight", "shared_head.head.weight")}
    return tensors | like_last_layer(tensors, config, last, prefix) | {prefix + n: shape for n, shape in more.items()}


def deepseek_v3(tensors, config):
    result = {}
    for name, shape in next_token_head(tensors, config).items():
        if re.search(r"(self_attn|mlp)\..*proj(_with_mqa)?\.weight$", name):
            result[name] = (*shape, "F8_E4M3")
            result[name + "_scale_inv"] = (*(-(-size // 128) for size in shape), "F32")
        else:
            result[name] = (*shape, "F32") if name.endswith("correction_bias") else shape
    return result


def gpt_oss(tensors, config):
    result = {}
    for name, shape in tensors.items():
        if re.search(r"experts\.(gate_up|down)_proj$", name):  # (experts, in, out), packed along in by rows of out
            experts, inputs, outputs = shape
            result[name + "_blocks"] = (experts, outputs, inputs // 32, 16, "U8")
            result[name + "_scales"] = (experts, outputs, inputs // 32, "U8")
        else:
            result[name] = shape
    return result


def mtp(tensors, config):
    """mtp.* beside the model; its decoder layer is one with full attention."""
    text = config.get("text_config", config)
    hidden = text["hidden_size"]
    prefix = "model.language_model.layers." if "text_config" in config else "model.layers."
    last = f"{prefix}{layers(config)[-1]}."
    layer = {"mtp.layers.0." + n.removeprefix(last): shape for n, shape in tensors.items() if n.startswith(last)}
    norms = {f"mtp.{name}.weight": (hidden,) for name in ("norm", "pre_fc_norm_embedding", "pre_fc_norm_hidden")}
    return tensors | layer | norms | {"mtp.fc.weight": (hidden, 2 * hidden)}


def nested(tensors):
    """As the model is nested in memory, which loads too."""
    prefixes = {"model": "model.language_model", "visual": "model.visual", "lm_head": "lm_head"}
    parts = ((*name.partition("."), shape) for name, shape in tensors.items())
    return {prefixes[first] + dot + rest: shape for first, dot, rest, shape in parts}


def gemma3(tensors, config):
    return {name.replace("vision_tower.", "vision_tower.vision_model."): shape for name, shape in tensors.items()}


PUBLISHED = {
    "gemma-3-4b": gemma3,
    "gemma-3-27b": gemma3,
    "llama-2-7b": llama2,
    "gpt2": gpt2,
    "gpt2-xl": gpt2,
    "pythia-1b": neox,
    "gpt-neox-20b": neox,
    "opt-125m": with_head,
    "opt-350m": with_head,
    "opt-1.3b": opt_bare,
    "falcon-7b": with_head,
    "falcon-40b": with_head,
    "glm-4.5-air": next_token_head,
    "glm-4.6": lambda tensors, config: next_token_head(tensors, config, shared=False),
    "deepseek-v3": deepseek_v3,
    "gpt-oss-20b": gpt_oss,
    "qwen3-next-80b": mtp,
    "qwen3.5-27b": mtp,
}
