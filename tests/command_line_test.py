"""What a person types: a first try succeeds, every hint can be typed as it stands, and what is printed arrives."""

import json
import os
import re
import subprocess

import pytest
import torch

import tiny_models
from command import BINARY, ROOT, refused, spinor, spinor_json


def sizes(hidden, inner, heads, key_value_heads, head_dim):
    return {
        "hidden_size": hidden,
        "intermediate_size": inner,
        "num_attention_heads": heads,
        "num_key_value_heads": key_value_heads,
        "head_dim": head_dim,
    }


# Sizes of published models, and the types that fit them; 94 is the order of no Hadamard matrix.
FITTING = {
    "SmolLM2": ("llama", sizes(576, 1536, 9, 3, 64), "R1 random-hadamard, R2 hadamard"),
    "Qwen2.5": ("qwen2", sizes(896, 256, 14, 2, 64), "R1 random-hadamard, R2 hadamard"),
    "94": ("llama", sizes(94, 64, 2, 1, 10), "R1 random-orthogonal, R2 random-orthogonal"),
    "64": ("llama", sizes(64, 128, 4, 2, 16), "R1 hadamard, R2 hadamard"),
}


@pytest.fixture(scope="module")
def sized(tmp_path_factory):
    def made(name):
        directory = tmp_path_factory.getbasetemp() / f"sized-{name}"
        family, shape, _ = FITTING[name]
        if not directory.exists():
            tiny_models.save(directory, family, "power_of_two", torch.float32, num_hidden_layers=1, **shape)
        return directory

    return made


@pytest.mark.parametrize("name", FITTING)
def test_the_default_type_fits_each_size_and_is_said(sized, tmp_path, name):
    source, out, types = sized(name), tmp_path / "out", FITTING[name][2]
    assert spinor("rotate", source, out).splitlines()[-1] == f"rotations: {types}"
    assert f"\nrotations  {types}\n" in spinor("plan", source)
    assert spinor("verify", source, out).endswith("is the same function as " + str(source) + "\n")
    # What was chosen is in the recipe, so that a second run does the same.
    again = tmp_path / "again"
    assert spinor("rotate", source, again, "--recipe", out / "recipe.yaml").splitlines()[-1] == f"rotations: {types}"
    assert (again / "model.safetensors").read_bytes() == (out / "model.safetensors").read_bytes()
    assert "auto" not in (out / "recipe.yaml").read_text()


def test_a_recipe_keeps_the_default_of_llm_compressor(sized, tmp_path):
    recipe = tmp_path / "recipe.yaml"
    text = "default_stage: {{default_modifiers: {{SpinQuantModifier: {{{}}}}}}}\n"
    recipe.write_text(text.format("rotations: [R1]"))
    message = refused("rotate", sized("SmolLM2"), tmp_path / "x", "--recipe", recipe)
    assert "hadamard has no matrix of size 576" in message
    recipe.write_text(text.format("rotations: [R1], transform_type: auto"))
    assert "rotations: R1 random-hadamard" in spinor("rotate", sized("SmolLM2"), tmp_path / "out", "--recipe", recipe)


def test_quip_fits_too(sized):
    assert "rotations  v random-hadamard" in spinor("plan", sized("64"), "--quip", "v")
    assert "rotations  v random-orthogonal, u random-orthogonal" in spinor("plan", sized("94"), "--quip", "v,u")


# What is typed, and what the hint says to add to it, or to put in its place.
HINTS = [
    ("SmolLM2", ["plan", "--transform-type", "hadamard"], "--transform-type auto"),
    ("SmolLM2", ["plan", "--transform-type", "hadamard"], "--block-size 64"),
    ("94", ["plan", "--transform-type", "random-hadamard"], "--transform-type auto"),
    ("94", ["plan", "--randomize"], "leave out --randomize"),
    ("64", ["plan", "--block-size", "48"], "--block-size 16"),
    ("64", ["plan", "--transform-type", "random-matrix"], "--transform-type random-orthogonal"),
    ("Qwen2.5", ["plan", "--ignore", "lm_head"], "--scheme W4A16"),
    ("SmolLM2", ["plan", "--scheme", "W4A16"], "--group-size 64"),
    ("64", ["plan", "--scheme", "W4A16"], "--group-size 64"),
    ("64", ["plan", "--scheme", "W8A8", "--group-size", "32"], "--scheme W4A16"),
    ("64", ["plan", "--vision"], "leave out --vision"),
]


@pytest.mark.parametrize("name, typed, hint", HINTS, ids=[" ".join(case[1]) + ": " + case[2] for case in HINTS])
def test_the_hint_can_be_typed(sized, name, typed, hint):
    command, *options = typed
    message = refused(command, sized(name), *options)
    assert hint in message
    given = {}
    for word in options + hint.split():
        if word.startswith("--"):
            option = word
            given[option] = []
        elif option in given:
            given[option].append(word)
    if hint.startswith("leave out "):
        del given[hint.split()[-1]]
    spinor(command, sized(name), *[word for option, values in given.items() for word in [option, *values]])


def test_every_option_that_a_message_names_exists():
    """In every string of the sources, whatever the command: one of them has it."""
    named, known = {}, {"--version", "--help", "--events", "--options", "--revision"}  # the last of `hf download`
    for path in [*(ROOT / "cli").rglob("*.cpp"), *(ROOT / "spinor").rglob("*.cpp")]:
        if path.name.endswith(("_test.cpp", "_bench.cpp", "_fuzz.cpp")):
            continue
        text = path.read_text()
        known |= set(re.findall(r'add_(?:option|flag)\(\s*"(--[a-z-]+)"', text))
        for string in re.findall(r'"((?:[^"\\\n]|\\.)*)"', text):
            for option in re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", string):
                named.setdefault(option, str(path.relative_to(ROOT)))
    assert len(named) > 40
    assert {option: path for option, path in named.items() if option not in known} == {}


def test_help_is_the_same_in_every_process():
    """CLI11 would list what an option excludes, in the order of addresses."""
    assert "Excludes" not in spinor("plan", "--help") + spinor("rotate", "--help")


FULL = [["--help"], ["--version"], ["inspect", "{}"], ["inspect", "{}", "--json"], ["plan", "{}"]]
FULL += [["verify", "{}", "{}"]]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
@pytest.mark.parametrize("arguments", FULL, ids=" ".join)
def test_output_that_cannot_be_written_is_an_error(sized, arguments):
    words = [word.format(sized("64")) for word in arguments]
    with open("/dev/full", "w") as full:
        done = subprocess.run([BINARY, *words], stdout=full, stderr=subprocess.PIPE, text=True, timeout=600)
    assert done.returncode == 1
    # Why is lost where the stream was written out before.
    assert re.fullmatch(r"error: .*(No space left on device|could not be written)\n", done.stderr), done.stderr


def test_a_path_need_not_be_utf8(sized, tmp_path):
    out = os.fsencode(tmp_path) + b"/o\xff"
    done = subprocess.run([BINARY, "rotate", sized("64"), out, "--json"], capture_output=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["out"].endswith("/o\ufffd")
    assert os.path.exists(out + b"/config.json")


def test_a_path_of_a_recipe_must_be_utf8(sized, tmp_path):
    """Before any work: it could not be written into OUT/recipe.yaml."""
    words = [BINARY, "rotate", sized("64"), tmp_path / "out", "--rotation", b"r\xff"]
    done = subprocess.run(words, capture_output=True, timeout=600)
    assert done.returncode == 1 and b"--rotation: is not UTF-8" in done.stderr


def test_inspect_shows_what_it_may_not_rotate_and_nothing_that_is_damaged(sized, tmp_path):
    source = sized("64")
    config = json.loads((source / "config.json").read_text())
    (tmp_path / "model.safetensors").symlink_to(source / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({**config, "architectures": ["NovelForCausalLM"]}))
    assert "is not an architecture spinor knows" in spinor_json("inspect", tmp_path)["refusal"]
    (tmp_path / "config.json").write_text(json.dumps({**config, "hidden_size": 65}))
    assert "config.json says" in refused("inspect", tmp_path) or "not a multiple" in refused("inspect", tmp_path)
