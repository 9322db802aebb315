"""vllm_logprobs.py MODEL TOKENS OUT: log-probabilities of the tokens (JSON lists, a prompt each) after the first, by
vLLM.

Runs in the environment of requirements-vllm.txt.
"""

import json
import os
import sys
from pathlib import Path

from vllm import LLM, SamplingParams

if __name__ == "__main__":
    model, tokens, out = sys.argv[1:]
    prompts = json.loads(Path(tokens).read_text())
    llm = LLM(model, skip_tokenizer_init=True, enforce_eager=True, dtype="bfloat16", max_model_len=64, seed=0)
    sampling = SamplingParams(max_tokens=1, temperature=0, prompt_logprobs=0, detokenize=False)
    found = []
    for output in llm.generate([{"prompt_token_ids": prompt} for prompt in prompts], sampling):
        steps = zip(output.prompt_token_ids[1:], output.prompt_logprobs[1:], strict=True)
        found.append([step[token].logprob for token, step in steps])
    Path(out).write_text(json.dumps(found))
    # vLLM's own threads, while Python goes down, now and then end the process with SIGABRT. Its results are there.
    llm.llm_engine.engine_core.shutdown()
    os._exit(0)
