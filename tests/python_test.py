"""The Python package: every command is a function, with the command's options, results, errors and bytes."""

import ast
import inspect
import json
import logging
import os
import pickle
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch

spinor = pytest.importorskip("spinor")  # PYTHONPATH=build/release/python; without nanobind there is none

import command  # noqa: E402
import python_commands  # noqa: E402
import tiny_models  # noqa: E402
from spinor import _core  # noqa: E402

TORCH = command.BINARY.with_name("spinor-torch")
COMMANDS = ["answer", "compare", "dequantize", "discover", "eval", "generate", "inspect", "learn", "plan", "quantize",
            "rotate", "tokenize", "verify"]
RECIPE = {"default_stage": {"default_modifiers": {
    "SpinQuantModifier": {"rotations": ["R1"], "transform_type": "hadamard"},
    "QuantizationModifier": {"targets": ["Linear"], "ignore": ["lm_head"], "scheme": "W8A8"}}}}
YAML = """
default_stage:
  default_modifiers:
    SpinQuantModifier: {rotations: [R1], transform_type: hadamard}
    QuantizationModifier: {targets: [Linear], ignore: [lm_head], scheme: W8A8}
"""
needs_torch = pytest.mark.skipif(not TORCH.exists(), reason="spinor-torch is not built")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    directory = tmp_path_factory.mktemp("models") / "llama"
    tiny_models.make("llama", "power_of_two", torch.bfloat16).save_pretrained(directory)
    return directory


@pytest.fixture(scope="module")
def slow_model(tmp_path_factory):
    """Takes seconds to rotate: its matrices are dense, and one thread computes."""
    directory = tmp_path_factory.mktemp("models") / "slow"
    sizes = {"hidden_size": 1000, "intermediate_size": 3000, "num_attention_heads": 10, "num_key_value_heads": 10,
             "head_dim": 100, "num_hidden_layers": 4}
    tiny_models.make("llama", "power_of_two", torch.float32, **sizes).save_pretrained(directory)
    return directory


SLOWLY = {"rotations": "R1", "transform_type": "random-orthogonal", "threads": 1}


def weights(directory):
    return (Path(directory) / "model.safetensors").read_bytes()


def timeless(text):
    """Without what no two runs have in common."""
    return re.sub(r"in [\d.]+ s \([^)]*\)", "", text)


@pytest.mark.parametrize("name", COMMANDS)
@needs_torch
def test_a_function_has_what_its_command_has(name):
    options = {python_commands.argument_name(option)
               for option in python_commands.read_commands(TORCH)[name]["options"]
               if option["name"] not in python_commands.NOT_ARGUMENTS}
    parameters = inspect.signature(getattr(spinor, name)).parameters
    assert set(parameters) == options | {"progress"}
    documented = getattr(spinor, name).__doc__
    assert all(f"    {parameter}: " in documented for parameter in parameters)


def test_every_command_is_a_function():
    assert sorted(json.loads(_core.options())) == COMMANDS
    assert all(callable(getattr(spinor, name)) for name in COMMANDS)


@needs_torch
def test_what_is_made_of_the_options_is_up_to_date():
    commands = python_commands.read_commands(TORCH)
    hint = "run tools/python_commands.py build/release/cli/spinor-torch"
    assert python_commands.MODULE.read_text() == python_commands.module(commands), hint
    page = python_commands.PAGE.read_text()
    assert page == python_commands.page(commands, page), hint


def test_rotates_to_the_same_bytes_and_says_the_same(model, tmp_path):
    result = spinor.rotate(model, tmp_path / "here", rotations=["R1", "R2"], seed=7, max_shard_size="1GB")
    printed = command.spinor("rotate", model, tmp_path / "there", "--rotations", "R1,R2", "--seed", 7)
    assert weights(tmp_path / "here") == weights(tmp_path / "there")
    assert timeless(str(result)) + "\n" == timeless(printed).replace("there", "here")
    assert result.rotations == result["rotations"] == result.to_dict()["rotations"] != ""
    assert result.tensors > 0 and "tensors" in dir(result)
    assert str(tmp_path) in result._repr_html_() and result._repr_html_().startswith("<pre>")
    with pytest.raises(AttributeError, match="found no 'tensor'"):
        result.tensor  # noqa: B018


def test_looks_at_a_model_as_the_command_does(model, tmp_path):
    spinor.rotate(model, tmp_path / "out")
    for name, *places in [("plan", model), ("inspect", model), ("verify", model, tmp_path / "out")]:
        result = getattr(spinor, name)(*places)
        assert str(result) + "\n" == command.spinor(name, *places), name
        assert result.to_dict() == command.spinor_json(name, *places), name
    assert spinor.inspect(str(model), outliers=True).outliers["before"]


def test_a_recipe_is_a_file_a_text_a_dict_or_a_list(model, tmp_path):
    (tmp_path / "recipe.yaml").write_text(YAML)
    modifiers = RECIPE["default_stage"]["default_modifiers"]
    forms = [tmp_path / "recipe.yaml", str(tmp_path / "recipe.yaml"), YAML, RECIPE,
             [{name: fields} for name, fields in modifiers.items()]]
    outs = [tmp_path / str(i) for i in range(len(forms))]
    for out, form in zip(outs, forms):
        spinor.quantize(model, out, recipe=form)
    assert len({weights(out) for out in outs}) == 1
    with pytest.raises(spinor.InputError, match=r"recipe.*rotationz") as raised:
        spinor.plan(model, recipe=[{"SpinQuantModifier": {"rotationz": ["R1"]}}])
    assert "rotations" in str(raised.value)


def test_tokenizes(tmp_path):
    from docs_test import save_model  # one that has a tokenizer

    save_model(tmp_path / "model")
    (tmp_path / "text.txt").write_text("The wind.")
    result = spinor.tokenize(tmp_path / "model", text=tmp_path / "text.txt")
    assert str(result) + "\n" == command.spinor("tokenize", tmp_path / "model", "--text", tmp_path / "text.txt")
    (tmp_path / "tokens.json").write_text(json.dumps(result.tokens))
    assert spinor.tokenize(tmp_path / "model", decode=tmp_path / "tokens.json").text == "The wind."


REFUSED = [
    (dict(rotation_s="R1"), spinor.ArgumentError, "has no argument 'rotation_s'; did you mean 'rotations'?"),
    (dict(seed="seven"), spinor.InputError, "--seed"),
    (dict(seed=1.5), spinor.InputError, "--seed"),
    (dict(seed=True), spinor.InputError, "--seed"),
    (dict(seed=object()), spinor.ArgumentError, "seed: is of type object"),
    (dict(vision="perhaps"), spinor.InputError, "vision"),
    (dict(rotations=["R1", ["R2"]]), spinor.ArgumentError, "rotations: has of type list in its list"),
    (dict(rotations=["R1,R2"]), spinor.InputError, "rotations: has a comma in 'R1,R2'"),
    (dict(rotations=["R9"]), spinor.InputError, "R9"),
    (dict(recipe=[3]), spinor.ArgumentError, "recipe: has 3 in its list"),
    (dict(recipe={"a": object()}), spinor.ArgumentError, "recipe: is not made of"),
    (dict(recipe={}), spinor.InputError, "recipe"),
    (dict(recipe=RECIPE, rotations="R1"), spinor.InputError, "--recipe"),
    (dict(threads=-1), spinor.InputError, "--threads"),
    (dict(progress=3), spinor.ArgumentError, "progress: is of type int"),
]


@pytest.mark.parametrize("arguments, kind, message", REFUSED, ids=[str(list(row[0])) + row[2][:20] for row in REFUSED])
def test_refuses_what_it_cannot_do(model, tmp_path, arguments, kind, message):
    with pytest.raises(kind) as raised:
        spinor.rotate(model, tmp_path / "out", **arguments)
    assert message in str(raised.value)
    assert isinstance(raised.value, (spinor.Error, ValueError)) and not list(tmp_path.iterdir())


def test_refuses_places_that_are_none(model, tmp_path):
    for arguments, message in [((model,), "needs out"), ((model, tmp_path, 3), "takes model, out"),
                               ((None, tmp_path), "model: is of type NoneType"), (("", tmp_path), "model: is empty")]:
        with pytest.raises(spinor.InputError, match=message):
            spinor.rotate(*arguments)
    with pytest.raises(spinor.InputError) as raised:
        spinor.rotate("-x", tmp_path / "out")
    assert (raised.value.subject, raised.value.problem) == ("./-x", "no such directory")
    again = pickle.loads(pickle.dumps(raised.value))  # as multiprocessing does
    assert (type(again), str(again)) == (spinor.InputError, str(raised.value))


def test_what_the_system_refuses_is_a_runtime_error(model, tmp_path):
    code = ("import resource, sys, spinor\n"
            "resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))\n"
            "try: spinor.rotate(sys.argv[1], sys.argv[2])\n"
            "except RuntimeError as error: print(type(error).__name__, error)")
    done = subprocess.run([sys.executable, "-c", code, model, tmp_path / "out"], capture_output=True, text=True)
    assert done.stdout.startswith("RunError ") and "File too large" in done.stdout, done.stderr


def test_a_model_that_is_another_function_is_an_error_with_the_result(model, tmp_path):
    other = tmp_path / "other"
    tiny_models.make("llama", "power_of_two", torch.bfloat16, rope_theta=123.0).save_pretrained(other)
    with pytest.raises(spinor.VerificationError, match="checks failed") as raised:
        spinor.verify(model, other)
    assert raised.value.subject == str(other) and raised.value.result.passed is False
    assert str(raised.value.result).startswith("check ")


def test_warnings_go_to_the_log_and_progress_to_the_caller(model, tmp_path, caplog):
    seen = []
    with caplog.at_level(logging.WARNING, "spinor"):
        result = spinor.rotate(model, tmp_path / "out", rotations="R1,R4", progress=lambda *what: seen.append(what))
    assert [record.getMessage() for record in caplog.records] == result.warnings != []
    assert seen[-1][0] == "rotate" and seen[-1][1] == seen[-1][2] > 0


@pytest.mark.parametrize("progress", [True, None, False])
def test_draws_a_bar(model, tmp_path, capsys, progress):
    spinor.rotate(model, tmp_path / "out", progress=progress)
    assert ("rotate: 100%" in capsys.readouterr().err) == (progress is not False)


def test_ctrl_c_stops_within_a_second_and_leaves_what_is_done(slow_model, tmp_path):
    started, whole = time.monotonic(), tmp_path / "whole"
    spinor.rotate(slow_model, whole, **SLOWLY, progress=False)
    takes = time.monotonic() - started
    pressed = []

    def press():
        pressed.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)

    timer = threading.Timer(takes / 2, press)
    with pytest.raises(KeyboardInterrupt):
        timer.start()
        spinor.rotate(slow_model, tmp_path / "out", **SLOWLY, progress=False)
    assert time.monotonic() - pressed[0] < 1
    assert not (tmp_path / "out").exists() and (tmp_path / "out.partial").is_dir()
    assert spinor.rotate(slow_model, tmp_path / "out", **SLOWLY, progress=False).bytes_resumed > 0
    assert weights(tmp_path / "out") == weights(whole)


def test_what_the_caller_raises_stops_the_work(slow_model, tmp_path):
    def stop(what, done, total):
        raise LookupError("enough")

    with pytest.raises(LookupError, match="enough"):
        spinor.rotate(slow_model, tmp_path / "out", **SLOWLY, progress=stop)
    assert (tmp_path / "out.partial").is_dir()


def test_threads_call_at_once(slow_model, tmp_path):
    outs = [tmp_path / "a", tmp_path / "b"]
    threads = [threading.Thread(target=spinor.rotate, args=(slow_model, out), kwargs={**SLOWLY, "progress": False})
               for out in outs]
    for thread in threads:
        thread.start()
    turns = 0
    while any(thread.is_alive() for thread in threads):
        time.sleep(0.01)
        turns += 1
    assert turns > 20  # nobody held the interpreter
    assert weights(outs[0]) == weights(outs[1])


@needs_torch
def test_runs_models(model, tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("SPINOR_TORCH_PROGRAM", str(TORCH))
    (tmp_path / "tokens.json").write_text(json.dumps([3 + i * i % 67 for i in range(200)]))
    arguments = {"token_ids": tmp_path / "tokens.json", "context": 32}
    result = spinor.eval(model, **arguments, progress=False)
    typed = ["eval", model, "--token-ids", tmp_path / "tokens.json", "--context", 32]
    assert result.perplexity == command.spinor_json(*typed)["perplexity"]
    assert str(result).startswith("perplexity ")
    with pytest.raises(spinor.InputError, match="no-such.json"):
        spinor.eval(model, token_ids="no-such.json")
    with pytest.raises(spinor.InputError, match="--context"):
        spinor.eval(model, **{**arguments, "context": "many"})
    # Calibration runs the model, too: what the core cannot do the program does, with its log.
    seen = []
    recipe = {"default_stage": {"default_modifiers": {"GPTQModifier": {"targets": ["Linear"], "ignore": ["lm_head"],
                                                                       "scheme": "W8A8"}}}}
    with caplog.at_level(logging.INFO, "spinor"):
        spinor.quantize(model, tmp_path / "out", recipe=recipe, calibration=tmp_path / "tokens.json",
                        calibration_context=32, calibration_samples=2, progress=lambda *what: seen.append(what))
    assert any("layer 1 of 2" in record.getMessage() for record in caplog.records)
    assert seen[-1][0] == "quantize" and (tmp_path / "out").is_dir()


def test_says_what_to_install_to_run_models(model, monkeypatch, tmp_path):
    monkeypatch.setenv("SPINOR_TORCH_PROGRAM", str(tmp_path / "none"))
    for name, arguments in [("eval", {"text": "x"}), ("generate", {"prompt": "x"}), ("compare", {"text": "x"})]:
        with pytest.raises(spinor.RunError, match=r"pip install spinor-llm\[torch\]"):
            getattr(spinor, name)(model, **arguments)


def program(*words, **options):
    return subprocess.run([sys.executable, "-m", "spinor", *map(str, words)], capture_output=True, text=True, **options)


@pytest.mark.parametrize("words", [["plan", "{}"], ["inspect", "{}", "--json"], ["--version"], ["plan", "--help"],
                                   ["plan", "/no/model"], ["plan"], ["plan", "{}", "--seeds", "3"]], ids=" ".join)
def test_python_m_spinor_is_the_program(model, words):
    words = [word.format(model) for word in words]
    ours, theirs = program(*words), command.run(*words)
    assert (ours.returncode, ours.stdout, ours.stderr) == (theirs.returncode, theirs.stdout, theirs.stderr)


def test_the_program_becomes_the_one_that_runs_models(model, tmp_path):
    fake = tmp_path / "spinor-torch"
    fake.write_text('#!/bin/sh\necho "$@"\n')
    fake.chmod(0o755)
    words = ["eval", model, "--text", "a b.txt"]
    done = program(*words, env={**os.environ, "SPINOR_TORCH_PROGRAM": str(fake)})
    assert done.stdout == f"eval {model} --text a b.txt\n", done.stderr
    done = program(*words, env={**os.environ, "SPINOR_TORCH_PROGRAM": "/none"})
    assert done.returncode == 1 and "pip install spinor-llm[torch]" in done.stderr


def test_ctrl_c_ends_the_program(slow_model, tmp_path):
    words = ["rotate", slow_model, tmp_path / "out", "--rotations", "R1", "--transform-type", "random-orthogonal"]
    running = subprocess.Popen([sys.executable, "-m", "spinor", *words, "--threads", "1"])
    while not (tmp_path / "out.partial").exists():
        time.sleep(0.01)
    running.send_signal(signal.SIGINT)
    assert running.wait(timeout=1) == -signal.SIGINT


def test_two_calls_do_not_write_to_one_place(slow_model, tmp_path):
    def again(what, done, total):
        with pytest.raises(spinor.InputError, match=r"out\.partial"):
            spinor.rotate(slow_model, tmp_path / "out", **SLOWLY, progress=False)
        raise LookupError("was refused")

    with pytest.raises(LookupError, match="was refused"):
        spinor.rotate(slow_model, tmp_path / "out", **SLOWLY, progress=again)


def test_a_model_may_have_the_name_of_a_command(model, tmp_path, monkeypatch):
    (tmp_path / "plan").symlink_to(model)
    monkeypatch.chdir(tmp_path)
    assert spinor.rotate("plan", "rotate").out == "rotate"


PUBLIC = {*spinor.__all__, *spinor._LATER}


def test_readers_of_types_see_what_is_imported_later():
    [told] = [node for node in ast.parse(Path(spinor.__file__).read_text()).body if isinstance(node, ast.If)]
    named = {alias.asname: node.module for node in told.body for alias in node.names}
    assert named == {name: f"spinor.{module}" for name, module in spinor._LATER.items()}
    assert set(dir(spinor)) >= PUBLIC and all(hasattr(spinor, name) for name in PUBLIC)


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_help_is_useful(name):
    documented = inspect.getdoc(getattr(spinor, name))
    assert documented
    if inspect.isfunction(getattr(spinor, name)):
        assert f"{name}(" in documented, "there is an example"


def test_importing_it_imports_nothing_large():
    code = "import sys, spinor; print(*{name.partition('.')[0] for name in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert "spinor" in loaded
    assert not {"torch", "numpy", "transformers", "tqdm", "logging", "subprocess", "typing_extensions"} & set(loaded)


@pytest.mark.parametrize("built, fits", [(".".join(torch.__version__.split(".")[:2]), True), ("1.13", False)])
def test_the_distribution_of_what_runs_models_fits_one_torch(tmp_path, built, fits):
    package = tmp_path / "spinor_torch"
    package.mkdir()
    (package / "__init__.py").write_text((command.ROOT / "python/torch/spinor_torch/__init__.py").read_text())
    (package / "_built.py").write_text(f'TORCH = "{built}"\n')
    (package / "bin").mkdir()
    (package / "bin" / "spinor-torch").symlink_to(TORCH)
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}:{os.environ['PYTHONPATH']}"}
    environment.pop("SPINOR_TORCH_PROGRAM", None)
    code = "import spinor._torch as t; print(t.program())"
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    if fits:
        assert done.stdout.strip() == str(package / "bin" / "spinor-torch")
    else:
        assert f"is built for torch {built}, and torch {torch.__version__} is installed" in done.stderr
    help_ = subprocess.run([sys.executable, "-m", "spinor", "rotate", "--help"], env=environment, capture_output=True)
    assert help_.returncode == 0, "what needs no torch works all the same"
