"""`answer` gives the likelihoods that transformers gives, and the texts of `generate`, for many requests at once."""

import json

import pytest
import torch

import tiny_models
from command import refused, spinor, spinor_json
from generate_test import FAMILIES, spoken  # noqa: F401  a fixture
from logits import load, logits

GENERATOR = torch.Generator().manual_seed(11)


def tokens(count):
    return torch.randint(3, 72, (count,), generator=GENERATOR).tolist()


# Lengths that repeat and that do not; two that differ in the last token; a whole window.
REQUESTS = [{"context": tokens(1 + i % 7), "continuation": tokens(1 + i % 4)} for i in range(20)]
REQUESTS += [{"context": [5, 6, 7], "continuation": [token]} for token in (8, 9)]
REQUESTS += [{"context": [5, 6], "continuation": [7, 8]}, {"context": tokens(50), "continuation": tokens(14)}]


def answered(tmp_path, model, requests, *options):
    (tmp_path / "requests.json").write_text(json.dumps(requests))
    return spinor_json("answer", model, tmp_path / "requests.json", "--threads", 1, *options)["answers"]


def expected(model, request):
    given, wanted = request["context"] + request["continuation"][:-1], torch.tensor(request["continuation"])
    predicted = logits(model, torch.tensor([given]))[0, -len(wanted):].double().log_softmax(-1)
    return predicted.gather(1, wanted[:, None]).sum().item(), bool((predicted.argmax(-1) == wanted).all())


@pytest.mark.parametrize("family, shape", [("llama", "power_of_two"), ("mistral", "three_heads"),
                                           ("granite", "wide_heads")])
@pytest.mark.parametrize("memory", ["1GB", "1KB"])
def test_likelihoods_are_those_of_transformers(tiny, tmp_path, family, shape, memory):
    source, _ = tiny(family, shape, torch.float64)
    model = load(source, torch.float64)
    requests = [dict(request) for request in REQUESTS]
    given = requests[0]["context"] + requests[0]["continuation"][:-1]
    likely = logits(model, torch.tensor([given]))[0, -1].argmax().item()
    requests.append({"context": given, "continuation": [likely]})
    answers = answered(tmp_path, source, requests, "--dtype", "float64", "--memory", memory)
    for request, found in zip(requests, answers, strict=True):
        total, greedy = expected(model, request)
        # Angles of RoPE are float32 on both sides.
        assert found["log_likelihood"] == pytest.approx(total, abs=1e-7 * len(request["continuation"])), request
        assert found["greedy"] == greedy
    assert answers[-1]["greedy"] and not answers[0]["greedy"]


def test_a_recipe_is_scored_as_eval_scores_it(tiny, tmp_path):
    source, _ = tiny("llama", "power_of_two", torch.float32)
    text = tokens(40)
    (tmp_path / "tokens.json").write_text(json.dumps(text))
    recipe = ["--rotations", "R1,R2,R3,R4", "--scheme", "W4A16", "--group-size", 16, "--activations", 4, "--kv", 4]
    figures = spinor_json("eval", source, "--token-ids", tmp_path / "tokens.json", "--threads", 1, *recipe)
    [found] = answered(tmp_path, source, [{"context": text[:1], "continuation": text[1:]}], *recipe)
    wanted = -figures["tokens"] * torch.tensor(figures["perplexity"], dtype=torch.float64).log().item()
    assert found["log_likelihood"] == pytest.approx(wanted, rel=1e-9)
    [plain] = answered(tmp_path, source, [{"context": text[:1], "continuation": text[1:]}])
    assert abs(plain["log_likelihood"] - wanted) > 1  # 4 bits are few


# Windows, latent attention, linear attention, positions that are learned, angles that depend on the length.
SHARING = [("mistral", "three_heads", {}), ("deepseek_v2", None, {}), ("qwen3_next", None, {}), ("gpt2", "tied", {}),
           ("llama", "wide_heads", {"rope_parameters": {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4},
                                    "max_position_embeddings": 8})]


@pytest.mark.parametrize("family, shape, settings", SHARING, ids=[row[0] for row in SHARING])
def test_what_requests_share_changes_none_of_them(tmp_path, family, shape, settings):
    shape = shape or next(iter(tiny_models.MORE_FAMILIES[family][1]))
    source = tiny_models.save(tmp_path / "model", family, shape, torch.float64, **settings)
    context = tokens(9)
    requests = [{"context": context, "continuation": tokens(count)} for count in (1, 4, 2, 9)]
    exact = ["--dtype", "float64"]
    together = answered(tmp_path, source, [*requests, {"context": tokens(9), "continuation": tokens(2)}], *exact)
    for request, found in zip(requests, together):
        [alone] = answered(tmp_path, source, [request], *exact)
        assert found["log_likelihood"] == pytest.approx(alone["log_likelihood"], rel=1e-10)


def test_only_the_window_is_seen(tiny, tmp_path):
    source, _ = tiny("llama", "power_of_two", torch.float32)
    long = {"context": tokens(30), "continuation": [7, 8]}
    text = {"context": long["context"], "max_new_tokens": 4}
    cut = [{**long, "context": long["context"][-9:]}, {**text, "context": text["context"][-6:]}]
    assert answered(tmp_path, source, [long, text], "--context", 10) == answered(tmp_path, source, cut)


@pytest.mark.parametrize("family", FAMILIES)
def test_texts_are_those_of_generate(spoken, tmp_path, family):  # noqa: F811
    model = spoken(family)
    prompts = ["They went up the hill", "for i in range(3):\n    print(i)", "They went up the dale", "x"]
    alone = [spinor_json("generate", model, "--prompt", prompt, "--threads", 1, "--max-new-tokens", 20)
             for prompt in prompts]
    requests = [{"context": one["prompt_tokens"], "max_new_tokens": 20} for one in alone]
    answers = answered(tmp_path, model, requests)
    assert [found["tokens"] for found in answers] == [one["tokens"] for one in alone]
    assert [found["text"] for found in answers] == [one["text"] for one in alone]
    # Until a text that may begin in one token and end in another, or until a token.
    whole = alone[0]["text"]
    for stop in (whole[3:6], [whole[9:12], whole[6:7]]):
        [found] = answered(tmp_path, model, [{**requests[0], "stop": stop}])
        first = min(whole.find(one) for one in ([stop] if isinstance(stop, str) else stop))
        assert found["text"] == whole[:first] and found["tokens"] == alone[0]["tokens"][: len(found["tokens"])]
        assert len(found["tokens"]) < len(alone[0]["tokens"])
    last = alone[1]["tokens"][4]
    [found] = answered(tmp_path, model, [{**requests[1], "stop_tokens": [last]}])
    assert found["tokens"] == alone[1]["tokens"][: alone[1]["tokens"].index(last) + 1]


def test_each_text_has_a_seed_of_its_own(spoken, tmp_path):  # noqa: F811
    model = spoken("mistral")
    sample = {"context": [3, 4, 5], "max_new_tokens": 12, "temperature": 1.5}
    first, again, other, greedy = (found["tokens"] for found in answered(tmp_path, model, [
        {**sample, "seed": 3}, {**sample, "seed": 3}, {**sample, "seed": 4}, {**sample, "top_k": 1}]))
    assert first == again != other
    assert greedy == answered(tmp_path, model, [{"context": [3, 4, 5], "max_new_tokens": 12}])[0]["tokens"]


def test_prints_an_answer_a_line(spoken, tmp_path):  # noqa: F811
    requests = [{"context": [3], "continuation": [4]}, {"context": [3], "max_new_tokens": 2}]
    found = answered(tmp_path, spoken("granite"), requests)
    likely, text = spinor("answer", spoken("granite"), tmp_path / "requests.json", "--threads", 1).splitlines()
    assert likely.startswith(f"log-likelihood {found[0]['log_likelihood']:.4f}")
    assert json.loads(text) == found[1]["text"]


ONE = {"context": [3], "continuation": [4]}
REFUSED = [
    ({"context": [3]}, "is not a list of requests"),
    ([ONE, {"context": [3]}], 'request 1 asks for nothing; give it a "continuation" to score'),
    ([{"continuation": [3]}], "missing key 'context' in request 0"),
    ([{**ONE, "context": []}], "request 0: has an empty context"),
    ([{**ONE, "continuation": []}], "request 0.continuation is empty"),
    ([{**ONE, "continuations": [3]}], "did you mean 'continuation'"),
    ([{**ONE, "max_new_tokens": 3}], "request 0 has a continuation, and keys of a text"),
    ([{**ONE, "context": [3.5]}], "request 0.context[0]"),
    ([{**ONE, "context": [1 << 40]}], "request 0.context[0]"),
    ([{**ONE, "continuation": [400]}], "request 0: has tokens that are not below the vocabulary's size 400"),
    ([{"context": [3], "max_new_tokens": 3, "stop": ""}], "stop has an empty text"),
    ([{"context": [3], "max_new_tokens": 3, "top_p": 0}], "sampling: needs"),
    ([{"context": [3], "max_new_tokens": -1}], "request 0"),
]


@pytest.mark.parametrize("requests, message", REFUSED, ids=[message for _, message in REFUSED])
def test_refuses_requests_that_it_does_not_understand(spoken, tmp_path, requests, message):  # noqa: F811
    (tmp_path / "requests.json").write_text(json.dumps(requests))
    assert message in refused("answer", spoken("mistral"), tmp_path / "requests.json")


def test_only_a_tokenizer_finds_where_a_text_stops(tiny, tmp_path):
    mute, _ = tiny("llama", "power_of_two", torch.float32)
    text = {"context": [3, 4], "max_new_tokens": 3}
    assert list(answered(tmp_path, mute, [text])[0]) == ["tokens"]
    (tmp_path / "requests.json").write_text(json.dumps([{**text, "stop": "."}]))
    assert "tokenizer.json" in refused("answer", mute, tmp_path / "requests.json")


def test_logits_that_overflow_are_an_error(tmp_path):
    model = tiny_models.make("llama", "power_of_two", torch.float32)
    with torch.no_grad():
        model.model.norm.weight *= 1e38
    model.save_pretrained(tmp_path / "model")
    (tmp_path / "requests.json").write_text(json.dumps([ONE]))
    assert "request 0: has logits that are not numbers" in refused("answer", tmp_path / "model",
                                                                   tmp_path / "requests.json")
