"""Layers for multi-token prediction: exact where they can be, else approximate, left out or refused. The reference is
what vLLM computes of them: the embedding of the next token and a state of the model, each normed, side by side through
one linear and one layer, whose class is that of transformers; then a norm and the model's own head."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

import logits
import tiny_models
from command import refused, run, spinor, spinor_json

ROTATE = ("--transform-type", "random-hadamard", "--quiet")
LAYERS = 2
BEHIND = f"model.layers.{LAYERS}."
GLM = {"embedding": "enorm", "hidden": "hnorm", "concat": "eh_proj", "output": "shared_head.norm"}
QWEN = {"embedding": "pre_fc_norm_embedding", "hidden": "pre_fc_norm_hidden", "concat": "fc", "output": "norm"}
MIMO = {"embedding": "token_layernorm", "hidden": "hidden_layernorm", "concat": "input_proj",
        "output": "final_layernorm"}
HEADS = {
    "glm4_moe": {"case": "biased", "names": GLM, "root": BEHIND, "layer": BEHIND},
    "deepseek_v3": {"case": "plain", "names": GLM, "root": BEHIND, "layer": BEHIND},
    "qwen3_next": {"case": "plain", "names": QWEN, "root": "mtp.", "layer": "mtp.layers.0.", "offset": 1},
    "qwen3_5": {"case": "plain", "names": QWEN, "root": "mtp.", "layer": "mtp.layers.0.", "offset": 1},
    "glm4_moe_lite": {"case": "plain", "names": GLM, "root": BEHIND, "layer": BEHIND},
    "mimo": {"family": "qwen2", "case": "wide_heads", "names": MIMO, "root": "model.mtp_layers.0.",
             "layer": "model.mtp_layers.0.", "hidden_first": True, "before": True},
}  # fmt: skip
KINDS = {"layer_types": "full_attention", "mlp_layer_types": "sparse"}  # of the layers that are added
AFTER = [family for family, head in HEADS.items() if "before" not in head]


def make(folder, family, final=None, output=None, copies=False, dtype=torch.float64):
    """A model whose last layer is turned into one for multi-token prediction; `final` and `output` are what those norms
    multiply by, None: whatever, "final": 1.5 times the final norm. Returns the names of the tensors that transformers
    does not know."""
    head = HEADS[family]
    whole = folder.parent / f"{folder.name}-whole"
    tiny_models.save(whole, head.get("family", family), head["case"], dtype, num_hidden_layers=LAYERS + 1,
                     **full(family))
    tensors, config = load_file(whole / "model.safetensors"), json.loads((whole / "config.json").read_text())
    hidden, offset = config["hidden_size"], head.get("offset", 0)
    own = {name: t for name, t in tensors.items() if name.startswith(BEHIND)}
    tensors = {name: t for name, t in tensors.items() if name not in own}
    random = torch.Generator().manual_seed(3)
    draw = lambda *shape: torch.randn(*shape, generator=random, dtype=torch.float64).to(dtype)
    scale = lambda value: (draw(hidden) * 0.3 + 1 - offset if value is None
                           else torch.full((hidden,), value - offset, dtype=dtype))
    mtp = {head["layer"] + name.removeprefix(BEHIND): t for name, t in own.items()}
    names = {part: f"{head['root']}{name}.weight" for part, name in head["names"].items()}
    mtp |= {names["embedding"]: scale(None), names["hidden"]: scale(None),
            names["output"]: 1.5 * tensors["model.norm.weight"] if output == "final" else scale(output)}
    mtp[names["concat"]] = draw(hidden, 2 * hidden) / hidden**0.5
    if final is not None:
        tensors["model.norm.weight"] = scale(final)
    if copies:
        mtp |= {BEHIND + "embed_tokens.weight": tensors["model.embed_tokens.weight"].clone()}
        head_weight = tensors.get("lm_head.weight", tensors["model.embed_tokens.weight"])
        mtp |= {BEHIND + "shared_head.head.weight": head_weight.clone()}
    config["num_hidden_layers"] = LAYERS
    for kinds in KINDS.keys() & config.keys():
        config[kinds] = config[kinds][:LAYERS]
    if "root" in head and head["root"] != "mtp.":
        config["num_nextn_predict_layers"] = 1
    if family == "mimo":
        config |= {"architectures": ["MiMoForCausalLM"], "model_type": "mimo"}
    write(folder, tensors | mtp, config)
    return set(mtp)


def full(family):
    """Of hybrids, the layer in question has full attention."""
    if family not in ("qwen3_next", "qwen3_5"):
        return {}
    return {"layer_types": ["linear_attention"] + ["full_attention"] * LAYERS}


def write(folder, tensors, config):
    folder.mkdir()
    save_file({name: t.contiguous() for name, t in tensors.items()}, folder / "model.safetensors",
              metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config))


def rms_norm(x, weight, eps):
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + eps) * weight


@torch.no_grad()
def predictions(folder, family):
    """Logits of the model, and of its head for multi-token prediction."""
    head = HEADS[family]
    tensors, config = load_file(folder / "model.safetensors"), json.loads((folder / "config.json").read_text())
    parts = {part: tensors.pop(f"{head['root']}{name}.weight") for part, name in head["names"].items()}
    as_layer = {BEHIND + n.removeprefix(head["layer"]) if n.startswith(head["layer"]) else n: t
                for n, t in tensors.items()}
    copies = ("embed_tokens.weight", "shared_head.head.weight")
    as_layer = {n: t for n, t in as_layer.items() if n not in {BEHIND + copy for copy in copies}}
    config["num_hidden_layers"] = LAYERS + 1
    for kinds in KINDS.keys() & config.keys():
        config[kinds].append(KINDS[kinds])
    if family == "mimo":
        config |= {"architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2"}
    reference = folder.parent / f"{folder.name}-reference"
    write(reference, as_layer, config)
    model = logits.load(reference, torch.float64)
    layer, eps, offset = model.model.layers[LAYERS], model.config.rms_norm_eps, head.get("offset", 0)
    model.model.layers = model.model.layers[:LAYERS]
    states = {}
    model.model.norm.register_forward_hook(lambda _, inputs, output: states.update(before=inputs[0], after=output))
    main = logits.logits(model)
    norm = lambda part, x: rms_norm(x, parts[part].double() + offset, eps)
    embedding = norm("embedding", model.model.embed_tokens(logits.TOKENS.roll(-1, 1)))
    hidden = norm("hidden", states["before" if "before" in head else "after"])
    pair = [hidden, embedding] if head.get("hidden_first") else [embedding, hidden]
    length = embedding.shape[1]
    positions = torch.arange(length)[None]
    mask = torch.full((1, 1, length, length), -1e9, dtype=torch.float64).triu(1)
    with logits.KeepFloat64():
        x = torch.cat(pair, -1) @ parts["concat"].double().T
        rope = model.model.rotary_emb(x, positions)
        y = layer(x, attention_mask=mask, position_ids=positions, position_embeddings=rope)
        y = y[0] if isinstance(y, tuple) else y
        return main, model.lm_head(norm("output", y))


def deviations(source, out, family):
    """Of the model and of its head."""
    pairs = zip(predictions(source, family), predictions(out, family))
    return [logits.difference(before, after) for before, after in pairs]


def rotations(family):
    return "R1" if family.startswith("qwen3") else "R1,R2"


@pytest.mark.parametrize(
    "family, scales",
    [(family, {"final": final, "output": 0.75}) for family in AFTER for final in (1.0, 1.5)]
    + [("mimo", {"output": "final"})],
)
def test_where_the_scales_are_constant_it_is_exact(tmp_path, family, scales):
    source, out = tmp_path / "source", tmp_path / "out"
    make(source, family, **scales)
    spinor("rotate", source, out, "--rotations", rotations(family), *ROTATE)
    main, head = deviations(source, out, family)
    assert main[0] <= 1e-9 and head[0] <= 1e-9, (main, head)
    assert not torch.equal(*(load_file(f / "model.safetensors")[concat(family)] for f in (source, out)))
    assert "is the same function as" in spinor("verify", source, out)


def concat(family):
    return f"{HEADS[family]['root']}{HEADS[family]['names']['concat']}.weight"


@pytest.mark.parametrize("family", HEADS)
def test_elsewhere_r1_is_refused_and_offers_what_there_is(tmp_path, family):
    make(tmp_path / "source", family)
    message = refused("rotate", tmp_path / "source", tmp_path / "out", "--rotations", "R1", *ROTATE)
    assert message.startswith(concat(family) + ": belongs to layers for multi-token prediction")
    assert ("reads the state after model.norm" in message) == ("before" not in HEADS[family])
    assert "is not model.norm times a constant" in message
    assert "--mtp approximate" in message and "--mtp drop (mtp: drop in a recipe) leaves them out" in message
    assert not (tmp_path / "out").exists()


# Scales of a spread of 30 % and a stream of 48 to 96: what one factor a token before each norm comes to, 0.15 to 0.34.
# With the scales taken as constant instead it is 0.40 to 0.52.
@pytest.mark.parametrize("family", HEADS)
def test_an_approximation_leaves_the_model_exact_and_is_near(tmp_path, family):
    source, out = tmp_path / "source", tmp_path / "out"
    make(source, family)
    done = run("rotate", source, out, "--rotations", rotations(family), "--mtp", "approximate", *ROTATE[:-1])
    assert done.returncode == 0 and "multi-token prediction is approximated: " in done.stderr
    assert "spread" in done.stderr
    main, head = deviations(source, out, family)
    assert main[0] <= 1e-9
    assert 1e-4 < head[1] <= 0.35
    assert "is the same function as" in spinor("verify", source, out)


@pytest.mark.parametrize("family", HEADS)
def test_dropped_they_are_gone_and_the_rest_is_exact(tmp_path, family):
    source, out = tmp_path / "source", tmp_path / "out"
    extra = make(source, family, copies=HEADS[family]["names"] is GLM)
    assert {name for name, t in spinor_json("inspect", source)["tensors"].items() if t["role"] == "mtp"} == extra
    spinor("rotate", source, out, "--rotations", rotations(family), "--mtp", "drop", *ROTATE)
    assert set(load_file(out / "model.safetensors")) == set(load_file(source / "model.safetensors")) - extra
    config = json.loads((out / "config.json").read_text())
    assert config.get("num_nextn_predict_layers", 0) == 0
    assert "is the same function as" in spinor("verify", source, out)
    again = tmp_path / "again"
    spinor("rotate", source, again, "--recipe", out / "recipe.yaml", "--quiet")
    assert (again / "model.safetensors").read_bytes() == (out / "model.safetensors").read_bytes()
    if family != "mimo":
        assert logits.difference(predictions(source, family)[0],
                                 logits.logits(logits.load(out, torch.float64)))[0] <= 1e-9


# Copies of the embedding and of the head stay copies of them.
def test_copies_stay_copies(tmp_path):
    make(tmp_path / "source", "glm4_moe", copies=True)
    spinor("rotate", tmp_path / "source", tmp_path / "out", "--mtp", "approximate", *ROTATE)
    tensors = load_file(tmp_path / "out" / "model.safetensors")
    assert torch.equal(tensors[BEHIND + "embed_tokens.weight"], tensors["model.embed_tokens.weight"])
    # By another way: the norm's scale times the inverse of that scale.
    torch.testing.assert_close(tensors[BEHIND + "shared_head.head.weight"], tensors["lm_head.weight"], rtol=1e-12,
                               atol=1e-14)


SCALES = [("glm4_moe", {}), ("glm4_moe", {"final": 1.5, "output": 0.75}), ("qwen3_next", {}), ("mimo", {}),
          ("mimo", {"output": "final"})]


@pytest.mark.parametrize("family, scales", SCALES)
def test_verify_finds_each_tensor_that_was_forgotten(tmp_path, family, scales):
    source, out = tmp_path / "source", tmp_path / "out"
    extra = make(source, family, copies=family == "glm4_moe", dtype=torch.float32, **scales)
    spinor("rotate", source, out, "--rotations", rotations(family), "--mtp", "approximate", *ROTATE)
    assert "is the same function as" in spinor("verify", source, out)
    before, after = (load_file(folder / "model.safetensors") for folder in (source, out))
    changed = [name for name in sorted(extra) if not torch.equal(before[name], after[name])]
    assert len(changed) >= 10
    for name in changed:
        save_file(after | {name: before[name]}, out / "model.safetensors", metadata={"format": "pt"})
        assert run("verify", source, out).returncode == 1, f"{name} of the source was not found in the output"


@pytest.mark.parametrize("family", ["glm4_moe", "deepseek_v3", "mimo"])
def test_r2_alone_acts_in_them_and_is_exact(tmp_path, family):
    source, out = tmp_path / "source", tmp_path / "out"
    extra = make(source, family)
    spinor("rotate", source, out, "--rotations", "R2", *ROTATE)
    before, after = (load_file(folder / "model.safetensors") for folder in (source, out))
    assert sum(not torch.equal(before[name], after[name]) for name in extra) >= 2
    assert all(deviation[0] <= 1e-9 for deviation in deviations(source, out, family))
    assert "is the same function as" in spinor("verify", source, out)


def test_matrices_of_ones_own_for_the_layers_of_the_model_leave_it_alone(tmp_path):
    source, out = tmp_path / "source", tmp_path / "out"
    extra = make(source, "mimo")
    size = json.loads((source / "config.json").read_text())["head_dim"]
    turned = {f"R2.{i}": torch.linalg.qr(torch.randn(size, size, dtype=torch.float64))[0].contiguous()
              for i in range(LAYERS)}
    save_file(turned, tmp_path / "r2.safetensors")
    spinor("rotate", source, out, "--rotations", "R2", "--rotation", tmp_path / "r2.safetensors", "--quiet")
    before, after = (load_file(folder / "model.safetensors") for folder in (source, out))
    assert all(torch.equal(before[name], after[name]) for name in extra)
    assert all(deviation[0] <= 1e-9 for deviation in deviations(source, out, "mimo"))


def without(folder, *names, **config):
    tensors = load_file(folder / "model.safetensors")
    save_file({n: t for n, t in tensors.items() if n not in names}, folder / "model.safetensors",
              metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(json.loads((folder / "config.json").read_text()) | config))


def test_a_head_with_a_part_missing_can_only_be_dropped(tmp_path):
    source = tmp_path / "source"
    make(source, "qwen3_next", final=1.0, output=1.0)
    without(source, concat("qwen3_next"))
    message = refused("rotate", source, tmp_path / "out", "--rotations", "R1", "--mtp", "approximate", *ROTATE)
    assert "which are none that the model's row describes" in message
    assert "--mtp drop (mtp: drop in a recipe) leaves them out" in message
    spinor("rotate", source, tmp_path / "out", "--rotations", "R1", "--mtp", "drop", *ROTATE)


def test_a_scale_of_zero_cannot_be_undone(tmp_path):
    source = tmp_path / "source"
    make(source, "glm4_moe")
    tensors = load_file(source / "model.safetensors")
    tensors["model.norm.weight"][5] = 0
    save_file(tensors, source / "model.safetensors", metadata={"format": "pt"})
    message = refused("rotate", source, tmp_path / "out", "--rotations", "R1", "--mtp", "approximate", *ROTATE)
    assert "scales by 0, which nothing undoes" in message and "--mtp approximate" not in message


def test_tensors_of_wrong_shapes_and_too_many_are_refused(tmp_path):
    make(tmp_path / "source", "mimo")
    without(tmp_path / "source", num_nextn_predict_layers=0)
    assert "is a tensor without a role" in refused("rotate", tmp_path / "source", tmp_path / "out", *ROTATE)
    make(tmp_path / "other", "glm4_moe")
    tensors = load_file(tmp_path / "other" / "model.safetensors")
    tensors[concat("glm4_moe")] = tensors[concat("glm4_moe")][:, :-1].contiguous()
    save_file(tensors, tmp_path / "other" / "model.safetensors", metadata={"format": "pt"})
    assert concat("glm4_moe") in refused("rotate", tmp_path / "other", tmp_path / "out", *ROTATE)


# A config of the user's own rotates what its targets match; norms are folded as ever.
def test_a_config_that_rotates_some_of_it_is_refused(tmp_path):
    source, out = tmp_path / "source", tmp_path / "out"
    make(source, "mimo", output="final")
    spinor("rotate", source, out, "--rotations", "R1", *ROTATE)
    recipe = (out / "recipe.yaml").read_text()
    assert "input_proj" in recipe
    (tmp_path / "recipe.yaml").write_text(recipe.replace("input_proj", "no_such_proj"))
    assert run("rotate", source, tmp_path / "again", "--recipe", tmp_path / "recipe.yaml").returncode == 1


@pytest.mark.parametrize("scales, verdict",
                         [({"final": 1.0, "output": 1.0}, "exact, with R1"), ({}, "--mtp drop or approximate: ")])
def test_inspect_says_what_r1_does_to_them(tmp_path, scales, verdict):
    make(tmp_path / "source", "glm4_moe", **scales)
    found = [row["verdict"] for row in spinor_json("inspect", tmp_path / "source")["rotations"]
             if row["rotation"] == "R1_mtp"]
    assert len(found) == 1 and found[0].startswith(verdict)


def test_they_are_quantized_only_by_name(tmp_path):
    source = tmp_path / "source"
    extra = make(source, "mimo", dtype=torch.float32)
    spinor("quantize", source, tmp_path / "out", "--scheme", "W8A8", "--quiet")
    before, after = load_file(source / "model.safetensors"), load_file(tmp_path / "out" / "model.safetensors")
    assert all(torch.equal(before[name], after[name]) for name in extra)


@pytest.mark.parametrize("family", ["glm4_moe", "mimo"])
def test_r3_and_r4_are_of_the_model_alone(tmp_path, family):
    source, out = tmp_path / "source", tmp_path / "out"
    extra = make(source, family)
    spinor("rotate", source, out, "--rotations", "R3,R4", *ROTATE)
    before, after = (load_file(folder / "model.safetensors") for folder in (source, out))
    assert all(torch.equal(before[name], after[name]) for name in extra)
    root = HEADS[family]["root"]
    online = set(after) - set(before)
    assert online and not any(name.startswith(root) for name in online)
    assert sum(not torch.equal(before[name], after[name]) for name in before) >= LAYERS
