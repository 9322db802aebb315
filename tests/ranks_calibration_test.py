"""Several processes calibrate one model together: each runs its share of the samples, and quantizes its share of the
weights. The bytes are those of one process, whoever is killed in between."""

import json
import shutil
import signal
import socket
import subprocess
import sys
import time

import pytest
import torch
from safetensors.torch import load_file, save_file

import tiny_models
from calibrated import experts, gptq, moe, recipe, rtn, tokens_file
from command import BINARY, refused, spinor, spinor_json
from ranks import contents, finish, partial, start, wait_for_journals

SAMPLES, CONTEXT = 22, 16  # five chunks of four samples, and one of two
RECIPES = {
    "gptq": [("SpinQuantModifier", {"rotations": ["R1", "R2"]}), gptq("W4A16")],
    "imatrix": [experts(rtn("W4A16"))],
    "fp8": [rtn("FP8", observer={"input": "static_minmax"})],
    "fp8_moving": [rtn("FP8")],  # depends on the order of samples
    "nvfp4": [gptq("NVFP4")],
    "kv": [("QuantizationModifier", {"kv_cache_scheme": {"num_bits": 8, "type": "float", "dynamic": False,
                                                         "strategy": "attn_head", "symmetric": True}})],
}


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return str(found.getsockname()[1])


def meeting():
    return {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port(), "GLOO_SOCKET_IFNAME": "lo"}


def start_all(ranks, *command, launcher="variables", **more):
    variables = {**meeting(), **more}
    return [start(rank, ranks, *command, launcher=launcher, variables=variables) for rank in range(ranks)]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """The sizes let a group of 16, 32 or 128 fit; two of the six experts are all that tokens reach."""
    root = tmp_path_factory.mktemp("models")
    tiny_models.save(root / "llama", "llama", "quantizable", torch.float32)
    return {"llama": root / "llama", "experts": moe(root, hidden_size=64, moe_intermediate_size=32)}


def arguments(tmp_path, model, name, out, *more):
    path = tmp_path / "recipe.json"
    if not path.exists():
        recipe(tmp_path, *RECIPES[name])
        generator = torch.Generator().manual_seed(5)
        tokens_file(tmp_path, torch.randint(3, 72, (SAMPLES * CONTEXT,), generator=generator).tolist())
    data = ["--calibration", tmp_path / "tokens.json", "--calibration-samples", SAMPLES]
    return ["quantize", model, out, "--recipe", path, *data, "--calibration-context", CONTEXT, "--quiet", *more]


CASES = [
    *(("llama", name) for name in RECIPES),
    *(("experts", name) for name in ("imatrix", "fp8", "nvfp4")),
]


@pytest.mark.parametrize("model, name", CASES)
def test_the_bytes_are_those_of_one_process(models, tmp_path, model, name):
    spinor(*arguments(tmp_path, models[model], name, tmp_path / "alone"))
    for ranks in (2, 3):
        out = tmp_path / str(ranks)
        assert finish(start_all(ranks, *arguments(tmp_path, models[model], name, out))) == [(0, "")] * ranks
        assert contents(out) == contents(tmp_path / "alone")
    if model == "experts" and name != "fp8":
        modules = json.loads((tmp_path / "3" / "calibration.json").read_text())["modules"]
        assert any(module["tokens"] == 0 for module in modules)


def test_more_ranks_than_chunks_and_little_memory(models, tmp_path):
    spinor(*arguments(tmp_path, models["experts"], "nvfp4", tmp_path / "alone", "--calibration-all-experts"))
    out = tmp_path / "out"
    command = arguments(tmp_path, models["experts"], "nvfp4", out, "--calibration-all-experts")
    ranks = start_all(7, *command[:-1], "--calibration-all-experts", "--calibration-memory", "100KB")
    assert finish(ranks) == [(0, "")] * 7
    assert contents(out) == contents(tmp_path / "alone")


@pytest.mark.parametrize("launcher", ["torchrun", "mpirun", "srun"])
def test_launchers_that_name_their_starts_need_no_address(models, tmp_path, launcher):
    """They meet in a file in OUT.partial."""
    spinor(*arguments(tmp_path, models["llama"], "gptq", tmp_path / "alone"))
    out = tmp_path / "out"
    command = arguments(tmp_path, models["llama"], "gptq", out)
    ranks = [start(rank, 2, *command, launcher=launcher) for rank in range(2)]
    assert finish(ranks) == [(0, "")] * 2
    assert contents(out) == contents(tmp_path / "alone")
    assert not partial(out).exists()


def test_torchrun_starts_them(models, tmp_path):
    spinor(*arguments(tmp_path, models["llama"], "gptq", tmp_path / "alone"))
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--no-python"]
    command = arguments(tmp_path, models["llama"], "gptq", tmp_path / "out")
    done = subprocess.run([*torchrun, BINARY, *map(str, command)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert contents(tmp_path / "out") == contents(tmp_path / "alone")


def test_by_hand_they_need_a_place_to_meet(models, tmp_path):
    out = tmp_path / "out"
    command = arguments(tmp_path, models["llama"], "gptq", out)
    said = refused(*command, "--rank", "0", "--ranks", "2")
    assert "--calibration: takes ranks that work together" in said and "MASTER_ADDR" in said
    spinor(*arguments(tmp_path, models["llama"], "gptq", tmp_path / "alone"))
    variables = meeting()
    by_hand = [[*command, "--rank", rank, "--ranks", 2] for rank in range(2)]
    processes = [start(0, 1, *one, variables=variables) for one in by_hand]
    assert finish(processes) == [(0, "")] * 2
    assert contents(out) == contents(tmp_path / "alone")
    said = refused(*command, "--rank", "0", "--ranks", "2", env={**variables, "MASTER_PORT": "many"})
    assert "MASTER_PORT: is not a port" in said


def test_a_rank_that_does_not_appear_is_named(models, tmp_path):
    command = arguments(tmp_path, models["llama"], "gptq", tmp_path / "out", "--rank-timeout", "2")
    for rank in range(2):
        ((status, said),) = finish([start(rank, 2, *command, variables=meeting())])
        assert status == 1 and (f"rank {1 - rank} of 2: has not appeared in 2 s" in said or "no answer in" in said)
        assert not (tmp_path / "out").exists()
        shutil.rmtree(partial(tmp_path / "out"))


def finished_tensors(out):
    try:
        return sum(path.read_bytes().count(b'"digest"') for path in partial(out).glob("journal-*.jsonl"))
    except FileNotFoundError:  # it is complete
        return sys.maxsize


def interrupted(command, out, ranks, victim, at_least):
    """One of them is killed when so many tensors are finished: how they ended."""
    processes = start_all(ranks, *command)
    wait_for_journals(out, ranks)
    while finished_tensors(out) < at_least and processes[victim].poll() is None:
        time.sleep(0.0005)
    processes[victim].send_signal(signal.SIGKILL)
    return finish(processes)


@pytest.mark.parametrize("victim", [0, 1])
def test_a_killed_rank_is_named_and_any_number_goes_on(models, tmp_path, victim):
    """From before the first weight to the last, and what comes after."""
    spinor(*arguments(tmp_path, models["experts"], "nvfp4", tmp_path / "alone"))
    killed = 0
    for step, at_least in enumerate((0, 60, 230)):
        out = tmp_path / f"out-{step}"
        command = arguments(tmp_path, models["experts"], "nvfp4", out)
        ended = interrupted(command, out, 2, victim, at_least)
        if not out.exists():
            killed += 1
            status, said = ended[1 - victim]
            assert status == 1 and f"rank {victim} of 2: " in said, said
            assert "died (process" in said or "has ended its connection" in said or "failed (process" in said, said
        ranks = 1 + step % 3
        if not out.exists():
            again = start_all(ranks, *command) if ranks > 1 else [start(0, 1, *command)]
            assert finish(again) == [(0, "")] * ranks
        assert contents(out) == contents(tmp_path / "alone")
        shutil.rmtree(out)
    assert killed >= 1


def test_a_silent_rank_is_named(models, tmp_path):
    out = tmp_path / "out"
    processes = start_all(2, *arguments(tmp_path, models["experts"], "nvfp4", out, "--rank-timeout", "4"))
    while finished_tensors(out) < 1 and processes[1].poll() is None:
        time.sleep(0.0005)
    processes[1].send_signal(signal.SIGSTOP)
    ((status, said),) = finish(processes[:1])
    processes[1].send_signal(signal.SIGCONT)
    finish(processes[1:])
    assert status == 1 and "rank 1 of 2: has not been heard of for 4 s" in said
    assert not out.exists()


def test_a_failure_of_one_is_the_reason_of_all(models, tmp_path):
    """Rank 1 has another text."""
    out = tmp_path / "out"
    command = arguments(tmp_path, models["llama"], "gptq", out)
    generator = torch.Generator().manual_seed(6)
    other = tmp_path / "other"
    other.mkdir()
    tokens_file(other, torch.randint(3, 72, (SAMPLES * CONTEXT,), generator=generator).tolist())
    changed = [other / "tokens.json" if argument == tmp_path / "tokens.json" else argument for argument in command]
    variables = meeting()
    processes = [start(0, 2, *command, variables=variables), start(1, 2, *changed, variables=variables)]
    ended = finish(processes)
    assert [status for status, _ in ended] == [1, 1]
    assert any("record.calibration.tokens" in said for _, said in ended), ended
    assert all("rank " in said or "record.calibration.tokens" in said for _, said in ended)
    assert not out.exists()


def test_inputs_that_overflow_end_all_with_the_module(models, tmp_path):
    model = tmp_path / "model"
    shutil.copytree(models["llama"], model)
    tensors = load_file(model / "model.safetensors")
    tensors["model.layers.1.input_layernorm.weight"][:] = 3e38
    tensors["model.layers.1.self_attn.q_proj.weight"][:] *= 1e30
    save_file(tensors, model / "model.safetensors", {"format": "pt"})
    ended = finish(start_all(2, *arguments(tmp_path, model, "imatrix", tmp_path / "out")))
    assert [status for status, _ in ended] == [1, 1]
    assert all("model.layers.1.self_attn." in said and "not finite" in said for _, said in ended), ended


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "tokens.json"
    generator = torch.Generator().manual_seed(7)
    path.write_text(json.dumps(torch.randint(3, 72, (16 * 9,), generator=generator).tolist()))
    return path


def told(processes):
    """What rank 0 says, and that the others say nothing."""
    said = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes), said
    assert [out for out, _ in said[1:]] == [""] * (len(processes) - 1)
    return json.loads(said[0][0])


@pytest.mark.parametrize("ranks", [2, 12])
def test_ranks_share_the_windows_of_eval(models, text, ranks):
    command = ["eval", models["llama"], "--token-ids", text, "--context", 16, "--reference", models["llama"]]
    command += ["--scheme", "W4A16", "--group-size", "16", "--ignore", "lm_head", "--json"]
    alone, together = spinor_json(*command[:-1], "--ranks", 1), told(start_all(ranks, *command))
    assert together["windows"] == 9 and together["tokens"] == alone["tokens"]
    for name in ("perplexity", "kl_divergence", "logits_rms", "logits_max", "top1_agreement"):
        assert together[name] == pytest.approx(alone[name], rel=1e-12)  # sums of doubles in another order


def test_ranks_share_the_windows_of_compare(models, text):
    command = ["compare", models["llama"], "--token-ids", text, "--context", 16, "--seeds", 1, "--json"]
    data = ["--calibration", text, "--calibration-samples", 4, "--calibration-context", 16]
    for more in (["--scheme", "W8A8"], ["--scheme", "FP8", *data]):
        alone = spinor_json(*[option for option in command if option != "--json"], *more)
        together = told(start_all(2, *command, *more))
        for one, other in zip(alone["variants"], together["variants"], strict=True):
            assert other["perplexity"] == pytest.approx(one["perplexity"], rel=1e-12)
    ended = finish(start_all(2, *command, *data, "--learn"))
    assert all(status == 1 and "--learn: learns in one process" in said for status, said in ended)


def test_ranks_of_eval_that_do_not_fit_are_named(models, text, tmp_path):
    command = ["eval", models["llama"], "--token-ids", text, "--context", 16]
    variables = meeting()
    processes = [start(0, 2, *command, variables=variables),
                 start(1, 2, *command, "--samples", 3, variables=variables)]
    ended = finish(processes)
    assert [status for status, _ in ended] == [1, 1]
    assert any("rank 1 of 2: has text" in said and "at most 3" in said for _, said in ended), ended
    ((status, said),) = finish([start(0, 2, *command, "--rank-timeout", "1", variables=meeting())])
    assert status == 1 and "rank 1 of 2: has not appeared in 1 s" in said
    assert "--ranks 1" in refused(*command, "--rank", "0", "--ranks", "2")


def test_a_plan_says_what_calibration_takes(models, tmp_path):
    recipe(tmp_path, gptq("W4A16"))
    command = ["plan", models["llama"], "--recipe", tmp_path / "recipe.json", "--calibration-samples", SAMPLES]
    command += ["--calibration-context", CONTEXT]
    one, two = (spinor_json(*command, "--ranks", ranks, "--flops", "1G/s")["calibration"] for ranks in (1, 2))
    assert one["sent"] == 0 and two["sent"] > 0
    assert one["sample_flops"] * 12 / 22 == pytest.approx(two["sample_flops"])  # three of six chunks, all of four
    assert one["code_flops"] / 2 <= two["code_flops"] < one["code_flops"]
    assert two["seconds"] == pytest.approx((two["sample_flops"] + two["code_flops"]) / 1e9)
    said = spinor(*command, "--ranks", 8)
    assert "of 8 ranks the one that has most to do" in said and "only 6 ranks have samples" in said
    assert "--flops: 'fast' is not a rate" in refused(*command, "--flops", "fast")
    assert "calibration" not in spinor_json("plan", models["llama"])
