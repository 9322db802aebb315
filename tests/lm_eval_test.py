"""`spinor` in lm-eval gives what lm-eval's own `hf` model gives, and what `eval` gives for a recipe; offline."""

import json
import logging
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
import yaml

spinor = pytest.importorskip("spinor")  # PYTHONPATH=build/release/python; without nanobind there is none
pytest.importorskip("lm_eval")
os.environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1", TOKENIZERS_PARALLELISM="false")

from lm_eval import simple_evaluate  # noqa: E402
from lm_eval.tasks import TaskManager  # noqa: E402

import command  # noqa: E402
import hub_cache  # noqa: E402
import tiny_models  # noqa: E402
from spinor.lm_eval import SpinorLM  # noqa: E402
from spoken_model import TEXT, speak  # noqa: E402

TORCH = command.BINARY.with_name("spinor-torch")
pytestmark = pytest.mark.skipif(not TORCH.exists(), reason="spinor-torch is not built")

CHAT = ("{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}\n{% endfor %}"
        "{% if add_generation_prompt %}assistant:{% endif %}")
# The last question is longer than any window.
QUESTIONS = ["", "They went up the", "One day the miller said to his", "for i in range(10):", "gehen über ",
             TEXT[0] * 3]
CHOICES = [" hill", " old man and the boy", "b", " print(i)", " brook."]
FAMILIES = [("llama", "power_of_two"), ("granite", "three_heads"), ("gpt_neox", "parallel")]


@pytest.fixture(autouse=True)
def program(monkeypatch):
    monkeypatch.setenv("SPINOR_TORCH_PROGRAM", str(TORCH))


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    made = {}

    def get(family="llama", shape="power_of_two"):
        if family not in made:
            directory = tmp_path_factory.mktemp(family) / "model"
            tiny_models.save(directory, family, shape, torch.float32, vocab_size=400)
            speak(directory)
            config = json.loads((directory / "tokenizer_config.json").read_text())
            config |= {"tokenizer_class": "PreTrainedTokenizerFast", "chat_template": CHAT}
            (directory / "tokenizer_config.json").write_text(json.dumps(config))
            made[family] = directory
        return made[family]

    return get


@pytest.fixture(scope="module")
def tasks(tmp_path_factory):
    """Local tasks, a file of rows each."""
    place = tmp_path_factory.mktemp("tasks")
    os.environ["HF_DATASETS_CACHE"] = str(place / "cache")

    def task(name, rows, **fields):
        (place / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        data = {"dataset_path": "json", "dataset_kwargs": {"data_files": {"test": str(place / f"{name}.jsonl")}}}
        (place / f"{name}.yaml").write_text(yaml.safe_dump({"task": name, "test_split": "test", **data, **fields}))

    task("choice", [{"question": text, "choices": CHOICES, "answer": i % 5} for i, text in enumerate(QUESTIONS)],
         output_type="multiple_choice", doc_to_text="{{question}}", doc_to_choice="{{choices}}",
         doc_to_target="{{answer}}", metric_list=[{"metric": "acc"}, {"metric": "acc_norm"}])
    task("letter", [{"question": question, "answer": i % 3} for i, question in enumerate(QUESTIONS[1:])],
         output_type="multiple_choice", doc_to_text="{{question}}", doc_to_choice=["a", "b", "c"],
         doc_to_target="{{answer}}", target_delimiter="", metric_list=[{"metric": "acc"}])
    task("rolling", [{"text": text} for text in (*TEXT, " ".join(TEXT), "x")],
         output_type="loglikelihood_rolling", doc_to_text="", doc_to_target="{{text}}",
         metric_list=[{"metric": "word_perplexity"}, {"metric": "bits_per_byte"}])
    task("text", [{"question": question, "answer": "x"} for question in QUESTIONS[1:]],
         output_type="generate_until", doc_to_text="{{question}}", doc_to_target="{{answer}}",
         metric_list=[{"metric": "bypass"}],
         generation_kwargs={"until": ["th", "e ", "\n"], "max_gen_toks": 16, "do_sample": False})
    return TaskManager(include_path=str(place), include_defaults=False), place


def evaluated(tasks, model, names, arguments, **options):
    # Batches change the last bits of what hf computes, and padding more of them.
    return simple_evaluate(model=model, model_args=arguments, tasks=names, task_manager=tasks[0], batch_size=1,
                           device="cpu" if model == "hf" else None, bootstrap_iters=0, **options)


def answers(result, task):
    return [sample["resps"] for sample in sorted(result["samples"][task], key=lambda sample: sample["doc_id"])]


def assert_alike(ours, theirs, tokens):
    """Log-likelihoods to 1e-5 a token: both compute in float32, whose sums have 1e-6; and the same greedy tokens."""
    if isinstance(ours, (list, tuple)):
        assert len(ours) == len(theirs)
        for one, other in zip(ours, theirs):
            assert_alike(one, other, tokens)
    elif isinstance(ours, float):
        assert ours == pytest.approx(theirs, abs=1e-5 * tokens)
    else:
        assert ours == theirs


@pytest.mark.parametrize("family, shape", FAMILIES)
def test_figures_are_those_of_hf(models, tasks, family, shape):
    model, names = models(family, shape), ["choice", "letter", "rolling", "text"]
    arguments = {"pretrained": str(model), "dtype": "float32"}
    ours = evaluated(tasks, "spinor", names, arguments)
    theirs = evaluated(tasks, "hf", names, arguments)
    for name in names:
        length = max(len(SpinorLM(model).tok_encode(text)) for text in (" ".join(TEXT), *CHOICES))
        assert_alike(answers(ours, name), answers(theirs, name), length if name == "rolling" else 8)
    for name, metric in [("choice", "acc"), ("choice", "acc_norm"), ("letter", "acc")]:
        assert ours["results"][name][f"{metric},none"] == theirs["results"][name][f"{metric},none"]
    for metric in ("word_perplexity,none", "bits_per_byte,none"):
        assert ours["results"]["rolling"][metric] == pytest.approx(theirs["results"]["rolling"][metric], rel=1e-5)
    texts = [text for [[text]] in answers(ours, "text")]
    assert any(texts) and not any(stop in text for text in texts for stop in ("th", "e ", "\n"))


def test_chats_as_hf_does(models, tasks):
    arguments = {"pretrained": str(models()), "dtype": "float32", "max_length": 48}
    options = {"apply_chat_template": True, "system_instruction": "Be brief.", "num_fewshot": 0}
    ours = evaluated(tasks, "spinor", ["choice", "text"], arguments, **options)
    theirs = evaluated(tasks, "hf", ["choice", "text"], arguments, **options)
    for name in ("choice", "text"):
        assert_alike(answers(ours, name), answers(theirs, name), 8)
    [first, *_] = ours["samples"]["text"]
    assert "Be brief." in str(first["arguments"]) and "assistant:" in str(first["arguments"])
    assert SpinorLM(models()).chat_template(True) == CHAT
    assert SpinorLM(models()).tokenizer_name == str(models()).replace("/", "__")


def test_a_recipe_is_scored_as_eval_scores_it(models, tasks, tmp_path):
    recipe = {"rotations": ["R1", "R2", "R3", "R4"], "scheme": "W4A16", "group_size": 16, "activations": 4, "kv": 4}
    model = models()
    found = evaluated(tasks, "spinor", ["rolling"], {"pretrained": str(model), **recipe})
    plain = evaluated(tasks, "spinor", ["rolling"], {"pretrained": str(model)})
    tokens = SpinorLM(model).tok_encode(TEXT[0])
    (tmp_path / "tokens.json").write_text(json.dumps(tokens))
    figures = spinor.eval(model, token_ids=tmp_path / "tokens.json", bos=True, **recipe, progress=False)
    assert figures.tokens == len(tokens)
    expected = -len(tokens) * torch.tensor(figures.perplexity, dtype=torch.float64).log().item()
    [[total]] = answers(found, "rolling")[0]
    assert total == pytest.approx(expected, rel=1e-6)
    assert abs(total - answers(plain, "rolling")[0][0][0]) > 1


def test_samples_when_it_is_asked_to(models, tasks):
    given = [evaluated(tasks, "spinor", ["text"], {"pretrained": str(models())},
                       gen_kwargs={"do_sample": True, "temperature": 3.0, "seed": seed}) for seed in (1, 1, 2)]
    assert answers(given[0], "text") == answers(given[1], "text") != answers(given[2], "text")


def test_is_a_command(models, tasks, tmp_path):
    words = ["run", "--model", "spinor", "--model_args", f"pretrained={models()},activations=8,kv=8",
             "--tasks", "letter", "--include_path", tasks[1], "--output_path", tmp_path / "out"]
    done = subprocess.run([sys.executable, "-m", "spinor.lm_eval", *map(str, words)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    [written] = (tmp_path / "out").rglob("results_*.json")
    expected = evaluated(tasks, "spinor", ["letter"], {"pretrained": str(models()), "activations": 8, "kv": 8})
    assert json.loads(written.read_text())["results"]["letter"]["acc,none"] == expected["results"]["letter"]["acc,none"]


def test_says_what_is_wrong_with_its_arguments(models, tiny):
    with pytest.raises(spinor.ArgumentError, match="have no 'activation'; did you mean 'activations'"):
        SpinorLM(models(), activation=4)
    with pytest.raises(spinor.ArgumentError, match="have no 'pretrianed'|required"):
        SpinorLM(models(), pretrianed="x")
    mute, _ = tiny("llama", "power_of_two", torch.float32)
    with pytest.raises(spinor.InputError, match="has no tokenizer that transformers reads"):
        SpinorLM(mute)
    model = SpinorLM(mute, tokenizer=models(), max_length=16)
    with pytest.raises(spinor.InputError, match="vocabulary's size 72"):
        model.loglikelihood([SimpleNamespace(args=("They went", " up the hill"))], disable_tqdm=True)
    with pytest.raises(spinor.InputError, match="--activations"):
        SpinorLM(models(), activations=1).loglikelihood([SimpleNamespace(args=("x", " y"))], disable_tqdm=True)


def test_a_model_is_org_and_name_in_the_local_cache(models, tmp_path, monkeypatch):
    hub_cache.keep(tmp_path, "org/model", models())
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    asked = [SimpleNamespace(args=("They went", " up the hill"))]
    for tokenizer in (None, models()):
        found = SpinorLM("org/model", tokenizer=tokenizer).loglikelihood(asked, disable_tqdm=True)
        assert found == SpinorLM(models()).loglikelihood(asked, disable_tqdm=True)
    with pytest.raises(spinor.InputError, match="^org/none: neither a directory nor in the cache"):
        SpinorLM("org/none")


def test_says_that_contexts_are_cut(models, caplog):
    asked = [SimpleNamespace(args=(TEXT[0], " x")), SimpleNamespace(args=("x", " y"))]
    with caplog.at_level(logging.WARNING, "spinor"):
        SpinorLM(models(), max_length=8).loglikelihood(asked, disable_tqdm=True)
    assert [record.getMessage() for record in caplog.records if record.name == "spinor"] == [
        "1 of 2 contexts are longer than max_length 8 allows: their first tokens are left out"]


def test_says_which_request_it_cannot_answer(models):
    model = SpinorLM(models(), max_length=8)
    score = [SimpleNamespace(args=("x", " y")), SimpleNamespace(args=("x", " " + TEXT[0]))]
    with pytest.raises(spinor.InputError, match=r"request 1: continues with \d+ tokens, and the window has 8"):
        model.loglikelihood(score, disable_tqdm=True)
    with pytest.raises(spinor.InputError, match="request 0: asks for 256 tokens, and the window has 8"):
        model.generate_until([SimpleNamespace(args=("x", {"until": []}))], disable_tqdm=True)
    with pytest.raises(spinor.ArgumentError, match="'num_beams', which spinor does not do"):
        model.generate_until([SimpleNamespace(args=("x", {"num_beams": 3}))], disable_tqdm=True)
    assert model.loglikelihood([], disable_tqdm=True) == model.generate_until([], disable_tqdm=True) == []
