"""`generate` continues a prompt as transformers does."""

import json
import shutil

import pytest
import torch

import tiny_models
from command import refused, spinor, spinor_json
from logits import load
from spoken_model import speak

PROMPTS = [
    "They went up the hill",
    "Über die Brücke",
    "for i in range(3):\n    print(i)",
    "<s>One day the miller",
    "x",
]
FAMILIES = ["mistral", "granite", "smollm3"]  # with windows, multipliers, layers without RoPE


@pytest.fixture(scope="module")
def spoken(tmp_path_factory):
    made = {}

    def get(family):
        if family not in made:
            directory = tmp_path_factory.mktemp(family)
            tiny_models.save(directory, family, "three_heads", torch.float32, vocab_size=400)
            made[family] = speak(directory)
        return made[family]

    return get


def generated(model, prompt, *options):
    return spinor_json("generate", model, "--prompt", prompt, "--threads", 1, *options)


@torch.no_grad()
def greedy(model, prompt, count):
    """With a cache, until count tokens or the end of text."""
    tokens = model.generate(torch.tensor([prompt]), do_sample=False, max_new_tokens=count, pad_token_id=0)
    return tokens[0, len(prompt) :].tolist()


@pytest.mark.parametrize("family", FAMILIES)
def test_greedy_tokens_are_those_of_transformers(spoken, family):
    directory = spoken(family)
    model = load(directory, torch.float32)
    for prompt in PROMPTS:
        result = generated(directory, prompt, "--max-new-tokens", 24)
        assert result["tokens"] == greedy(model, result["prompt_tokens"], 24), prompt


def with_end(source, directory, end):
    """A copy of the model whose generation_config.json has this eos_token_id."""
    shutil.copytree(source, directory)
    (directory / "generation_config.json").write_text(json.dumps({"eos_token_id": end}))
    return directory


def test_stops_where_generation_config_says(spoken, tmp_path):
    source = spoken("mistral")
    free = generated(with_end(source, tmp_path / "free", None), PROMPTS[0], "--max-new-tokens", 12)
    assert len(free["tokens"]) == 12
    for name, end in (("number", free["tokens"][3]), ("list", [399, free["tokens"][3]])):
        model = with_end(source, tmp_path / name, end)
        tokens = generated(model, PROMPTS[0], "--max-new-tokens", 12)["tokens"]
        assert tokens == free["tokens"][: free["tokens"].index(free["tokens"][3]) + 1]
        assert tokens == greedy(load(model, torch.float32), free["prompt_tokens"], 12)


def test_what_is_rotated_says_the_same(spoken, tmp_path):
    source, out = spoken("granite"), tmp_path / "out"
    spinor("rotate", source, out, "--rotations", "R1,R2,R3,R4", "--transform-type", "random-hadamard", "--quiet")
    expected = generated(source, PROMPTS[0], "--max-new-tokens", 24)["tokens"]
    assert generated(out, PROMPTS[0], "--max-new-tokens", 24)["tokens"] == expected
    little = ["--memory", "1KB", "--max-new-tokens", 24]
    assert generated(out, PROMPTS[0], *little)["tokens"] == expected


def test_one_seed_is_one_text(spoken):
    sample = [spoken("mistral"), PROMPTS[0], "--max-new-tokens", 24, "--temperature", 1]
    first, again, other = (generated(*sample, "--seed", seed)["tokens"] for seed in (3, 3, 4))
    assert first == again != other
    assert generated(*sample, "--top-k", 1)["tokens"] == generated(*sample[:-2])["tokens"]


def test_the_text_is_that_of_the_tokens(spoken):
    model, options = spoken("granite"), ["--max-new-tokens", 12, "--threads", 1]
    result = spinor_json("generate", model, "--prompt", PROMPTS[1], *options)
    assert len(result["tokens"]) <= 12
    printed = spinor("generate", model, "--prompt", PROMPTS[1], *options)
    assert printed == PROMPTS[1] + result["text"] + "\n"
    with_bos = generated(model, PROMPTS[0], "--bos", "--max-new-tokens", 1)["prompt_tokens"]
    assert with_bos == [1, *generated(model, PROMPTS[0], "--max-new-tokens", 1)["prompt_tokens"]]


def test_says_what_it_cannot_do(spoken, tiny):
    model, (mute, _) = spoken("granite"), tiny("llama", "power_of_two", torch.float32)
    assert refused("generate", model, "--prompt", "") == "prompt: is empty; give some text, or --bos"
    assert "tokenizer.json" in refused("generate", mute, "--prompt", "x")
    sampling = "sampling: needs temperature >= 0, top_p > 0 and top_k >= 0"
    for option in (["--temperature", -1], ["--top-p", 0], ["--top-k", -1]):
        assert refused("generate", model, "--prompt", "x", *option) == sampling
