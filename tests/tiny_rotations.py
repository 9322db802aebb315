"""Exact rotations of a model in memory, done by hand: what a rotated checkpoint has to agree with.

An independent statement of who reads and who writes the residual stream, by the last part of a module's name."""

import torch

ATTENTION_READERS = set(
    "q_proj k_proj v_proj qkv_proj query_key_value c_attn q_a_proj kv_a_proj_with_mqa in_proj_qkvz in_proj_ba "
    "in_proj_qkv in_proj_z in_proj_b in_proj_a".split()
)
MLP_READERS = set(
    "gate_proj up_proj gate_up_proj fc1 fc_in c_fc dense_h_to_4h gate router shared_expert_gate experts".split()
)
WRITERS = set("o_proj out_proj dense down_proj fc2 fc_out c_proj dense_4h_to_h experts project_in".split())
EMBEDDINGS = set("embed_tokens embed_positions wte wpe embed_in word_embeddings".split())
ATTENTIONS = {"self_attn", "attn", "attention", "self_attention"}
ATTENTION_NORMS = ["input_layernorm", "ln_1", "self_attn_layer_norm", "ln_attn"]
MLP_NORMS = ["post_attention_layernorm", "ln_2", "final_layer_norm", "ln_mlp", "input_layernorm", "ln_1"]
ONE_PLUS = {"GemmaRMSNorm", "NemotronLayerNorm1P", "Qwen3NextRMSNorm", "Qwen3_5RMSNorm"}  # times 1 + weight
OUTPUT_NORMS = {"post_feedforward_layernorm", "post_mlp_layernorm"}  # these scale what is added to the stream


def leaf(name):
    return name.rpartition(".")[2]


def decoder(model):
    """The text model's layers, its last norm and the linear that reads it."""
    base = model.get_decoder()
    layers = next(m for n, m in base.named_children() if n in ("layers", "h"))
    final = next((m for n, m in base.named_children() if "norm" in n or n == "ln_f"), None)
    return base, layers, final, getattr(base, "project_out", None) or model.lm_head


def transposed(module):
    return type(module).__name__ in ("Conv1D", "GptOssExperts")  # (in, out)


def read(module, change):
    """Replaces the weight W of a reader, as (out, in), by change(W)."""
    weight = module.gate_up_proj if "Experts" in type(module).__name__ else module.weight
    weight.copy_(change(weight.mT).mT if transposed(module) else change(weight))


def write(module, rotation):
    """What the module adds to the stream, times the rotation."""
    experts = "Experts" in type(module).__name__
    weight = module.down_proj if experts else module.weight
    weight.copy_(weight @ rotation if transposed(module) else rotation.T @ weight)
    bias = getattr(module, "down_proj_bias" if experts else "bias", None)
    if bias is not None:
        bias.copy_(bias @ rotation)


def fold(norm, readers, rotation):
    """The norm without its scale and bias, and readers that see its rotated output: exact whether they have biases or
    not. A constant t in place of the norm's bias b leaves room for W b: see the row sums below."""
    size, one_plus = len(rotation), type(norm).__name__ in ONE_PLUS
    weight, bias = getattr(norm, "weight", None), getattr(norm, "bias", None)
    scale = torch.ones(size, dtype=rotation.dtype) if weight is None else weight + one_plus
    t = 1.0 if bias is None else bias.square().mean().sqrt()

    def change(w):
        folded = w * scale
        if bias is not None:
            folded = folded + ((w @ bias / t - w @ scale) / size)[..., None]
        return folded @ rotation

    for reader in readers:
        read(reader, change)
    if weight is not None:
        weight.fill_(0 if one_plus else 1)
    if bias is not None:
        bias.fill_(t)


def random_rotation(size, generator, keep_mean):
    """Random and orthogonal; with keep_mean it leaves the vector of ones in place, as a LayerNorm needs."""
    orthogonal = torch.linalg.qr(torch.randn(size, size, generator=generator, dtype=torch.float64)).Q
    if not keep_mean:
        return orthogonal
    first = torch.randn(size, size, generator=generator, dtype=torch.float64)
    first[:, 0] = 1
    basis, inner = torch.linalg.qr(first).Q, torch.eye(size, dtype=torch.float64)
    inner[1:, 1:] = orthogonal[:-1, :-1]
    inner[1:, 1:] = torch.linalg.qr(inner[1:, 1:]).Q
    return basis @ inner @ basis.T


def can_rotate_stream(model):
    base, layers, final, _ = decoder(model)
    children = {name for name, _ in layers[0].named_children()}
    normed_embedding = "word_embeddings_layernorm" in dict(base.named_children())
    return final is not None and not normed_embedding and not children & OUTPUT_NORMS


@torch.no_grad()
def rotate_stream(model, seed=0):
    """R1, of the text model."""
    base, layers, final, head = decoder(model)
    if model.lm_head.weight is model.get_input_embeddings().weight:
        model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.clone())
    size = model.config.get_text_config().hidden_size
    keep_mean = "LayerNorm" in type(final).__name__
    rotation = random_rotation(size, torch.Generator().manual_seed(seed), keep_mean)
    projected = getattr(base, "project_in", None)
    for name, module in base.named_children():
        if name in EMBEDDINGS and not (projected and name == "embed_tokens"):
            module.weight.copy_(module.weight @ rotation)
    if projected:
        write(projected, rotation)
    for layer in layers:
        norms = dict(layer.named_children())
        by_norm = {}
        for name, module in layer.named_modules():
            for readers, candidates in ((ATTENTION_READERS, ATTENTION_NORMS), (MLP_READERS, MLP_NORMS)):
                if leaf(name) in readers and any(True for _ in module.parameters(recurse=False)):
                    norm = next(norms[c] for c in candidates if norms.get(c) is not None)
                    by_norm.setdefault(norm, []).append(module)
        for norm, readers in by_norm.items():
            fold(norm, readers, rotation)
        for name, module in layer.named_modules():
            if leaf(name) in WRITERS:
                write(module, rotation)
    fold(final, [head], rotation)
    for name, module in model.named_modules():
        if "visual." in name and ("merger.mlp.2" in name or ("merger" in name and leaf(name) == "linear_fc2")):
            write(module, rotation)


def can_rotate_values(model):
    """False where something elementwise stands between the values and the output projection: a clamp, a gate."""
    config = model.config.get_text_config()
    return getattr(config, "clip_qkv", None) is None and not config.model_type.startswith(("qwen3_next", "qwen3_5"))


def value_rows(attention, config):
    """The linear that makes the values, the row at which each key-value head starts, and the rows of a head."""
    linears, heads = dict(attention.named_children()), config.num_attention_heads
    if "kv_b_proj" in linears:
        keys, size = config.qk_nope_head_dim, config.v_head_dim
        return linears["kv_b_proj"], [head * (keys + size) + keys for head in range(heads)], size
    if "v_proj" in linears:
        size = attention.head_dim
        return linears["v_proj"], list(range(0, linears["v_proj"].weight.shape[0], size)), size
    if "c_attn" in linears:  # queries, keys, values
        size = attention.head_dim
        return linears["c_attn"], [(2 * heads + head) * size for head in range(heads)], size
    if config.model_type == "codegen":  # four parts: queries, values, keys
        size, part = attention.head_dim, heads // 4
        return linears["qkv_proj"], [(3 * part * (h // part) + part + h % part) * size for h in range(heads)], size
    if "qkv_proj" in linears:
        size, groups = attention.head_dim, config.num_key_value_heads
        return linears["qkv_proj"], [(heads + groups + group) * size for group in range(groups)], size
    size = config.hidden_size // heads
    if getattr(config, "new_decoder_architecture", False):  # each group: its queries, its key, its value
        groups = config.num_kv_heads
        starts = [(group + 1) * (heads // groups + 2) * size - size for group in range(groups)]
    elif getattr(config, "multi_query", False):
        starts = [(heads + 1) * size]
    else:  # each head: query, key, value
        starts = [(3 * head + 2) * size for head in range(heads)]
    return linears["query_key_value"], starts, size


@torch.no_grad()
def rotate_gemma4(attention, values_of_type, generator):
    """Layers that share read the values of the last layer of their type with values of its own. Keys that are values
    stay as they are."""
    size, key = attention.head_dim, attention.layer_type
    if not attention.is_kv_shared_layer:
        weight = None if attention.v_proj is None else attention.v_proj.weight
        heads = 0 if weight is None else len(weight) // size
        values_of_type[key] = [random_rotation(size, generator, keep_mean=False) for _ in range(heads)]
        for rotation, rows in zip(values_of_type[key], range(0, heads * size, size)):
            part = slice(rows, rows + size)
            weight[part] = rotation.T @ weight[part]
            if attention.v_proj.bias is not None:
                attention.v_proj.bias[part] = attention.v_proj.bias[part] @ rotation
    rotations = values_of_type[key]
    for head in range(attention.o_proj.in_features // size if rotations else 0):
        rotation = rotations[head // (attention.o_proj.in_features // size // len(rotations))]
        columns = attention.o_proj.weight[:, head * size : (head + 1) * size]
        columns.copy_(columns @ rotation)


@torch.no_grad()
def rotate_values(model, seed=0):
    """R2, of the text model: a rotation of its own for each key-value head."""
    config, generator = model.config.get_text_config(), torch.Generator().manual_seed(seed)
    values_of_type = {}
    for layer in decoder(model)[1]:
        attention = next((m for n, m in layer.named_children() if n in ATTENTIONS), None)
        if attention is None:  # linear attention
            continue
        if config.model_type == "gemma4_text":
            rotate_gemma4(attention, values_of_type, generator)
            continue
        source, starts, size = value_rows(attention, config)
        output = next(m for n, m in attention.named_children() if n in WRITERS)
        per_group = config.num_attention_heads // len(starts)
        rows, columns = (m.weight.mT if transposed(m) else m.weight for m in (source, output))
        for group, start in enumerate(starts):
            rotation = random_rotation(size, generator, keep_mean=False)
            rows[start : start + size] = rotation.T @ rows[start : start + size]
            if source.bias is not None:
                source.bias[start : start + size] = source.bias[start : start + size] @ rotation
            for head in range(group * per_group, (group + 1) * per_group):
                columns[:, head * size : (head + 1) * size] = columns[:, head * size : (head + 1) * size] @ rotation
