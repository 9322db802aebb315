"""Models in lm-eval (lm_eval 0.4.13 and newer): as they are stored, or as a recipe would make them, without writing it.

    python -m spinor.lm_eval --model spinor --tasks TASKS --model_args pretrained=MODEL,recipe=recipe.yaml,kv=4

All requests of a kind go through the layers together, so there is no batch size. Needs spinor-torch, transformers for
the tokenizer and the chat template, and no torch in this process.
"""

from __future__ import annotations

import inspect
import json
import logging
import os
import tempfile
from collections.abc import Iterable, Sequence
from typing import Any

from lm_eval.api.model import TemplateLM
from lm_eval.api.registry import register_model
from lm_eval.models import utils as model_utils
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

from spinor._errors import ArgumentError, InputError, RunError
from spinor._run import _nearest, directory_of
from spinor.commands import answer

# What a task may say of a text, and spinor's word for it; all else is refused.
SAMPLING = {"temperature": "temperature", "top_p": "top_p", "top_k": "top_k", "seed": "seed"}
OPTIONS = [name for name in inspect.signature(answer).parameters
           if name not in ("model", "requests", "context", "device", "progress")]


@register_model("spinor")
class SpinorLM(TemplateLM):
    """`pretrained`: a directory, or org/name in the local Hugging Face cache. `tokenizer`: that of another.
    `max_length`: most tokens that the model sees at once; by its config unless told. All options of spinor.answer that
    say what to make of the model and how to run it: `recipe`, `rotations`, `scheme`, `activations`, `kv`, `dtype`, ...
    """

    def __init__(
        self,
        pretrained: str | os.PathLike[str],
        *,
        tokenizer: str | os.PathLike[str] | None = None,
        max_length: int | None = None,
        max_gen_toks: int = 256,
        add_bos_token: bool | None = None,
        prefix_token_id: int | None = None,
        chat_template_args: dict[str, Any] | None = None,
        trust_remote_code: bool = False,
        batch_size: int | str | None = None,  # these three lm-eval gives to every model
        max_batch_size: int | None = None,
        device: str | None = None,
        **options: Any,
    ):
        super().__init__()
        own = [name for name in inspect.signature(SpinorLM.__init__).parameters if name not in ("self", "options")]
        for name in options:
            if name not in OPTIONS:
                raise ArgumentError("model_args", f"have no {name!r}", _nearest(name, [*own, *OPTIONS]))
        self.pretrained = directory_of("pretrained", pretrained)
        self.options = {**options, "device": _device(device)}
        self.tokenizer = _tokenizer(self.pretrained if tokenizer is None else os.fspath(tokenizer), trust_remote_code)
        self.max_length = int(max_length or _max_length(self.pretrained, self.tokenizer, trust_remote_code))
        self.max_gen_toks, self.add_bos_token = int(max_gen_toks), add_bos_token
        self.own_prefix, self.chat_template_args = prefix_token_id, chat_template_args or {}

    @property
    def eot_token_id(self) -> int:
        return self.tokenizer.eos_token_id

    @property
    def prefix_token_id(self) -> int:
        """What stands before a text that nothing precedes."""
        for token in (self.own_prefix, self.tokenizer.bos_token_id, self.tokenizer.eos_token_id):
            if token is not None:
                return token
        raise InputError("tokenizer", "has neither a bos nor an eos token", "give prefix_token_id")

    @property
    def tokenizer_name(self) -> str:
        return self.tokenizer.name_or_path.replace("/", "__")

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **_: Any) -> list[int]:
        """With the special tokens that the tokenizer adds, unless the text begins with its bos token."""
        if add_special_tokens is None:
            add_special_tokens = self.add_bos_token
            prefix = self.tokenizer.decode(self.prefix_token_id)
            if model_utils.has_bos_prefix(string, prefix):
                add_special_tokens = False
        special = {} if add_special_tokens is None else {"add_special_tokens": add_special_tokens}
        return self.tokenizer.encode(string, **special)

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        """Without what the system says, where the template refuses that."""
        import jinja2

        said = {"tokenize": False, "add_generation_prompt": add_generation_prompt,
                "continue_final_message": not add_generation_prompt, **self.chat_template_args}
        try:
            return self.tokenizer.apply_chat_template(chat_history, **said)
        except jinja2.TemplateError:
            others = [message for message in chat_history if message["role"] != "system"]
            return self.tokenizer.apply_chat_template(others, **said)

    def _loglikelihood_tokens(self, requests: Sequence[tuple[Any, list[int], list[int]]], disable_tqdm: bool = False,
                              **_: Any) -> list[tuple[float, bool]]:
        asked = [{"context": context, "continuation": continuation} for _, context, continuation in requests]
        scores = [(found["log_likelihood"], found["greedy"]) for found in self._answers(asked, disable_tqdm)]
        for (texts, _, _), score in zip(requests, scores):
            if texts is not None:
                self.cache_hook.add_partial("loglikelihood", texts, score)
        return scores

    def loglikelihood_rolling(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[float]:
        windows: list[tuple[None, list[int], list[int]]] = []
        counts = []
        for request in requests:
            cut = get_rolling_token_windows(self.tok_encode(request.args[0]), self.prefix_token_id, self.max_length, 1)
            more = [(None, *make_disjoint_window(window)) for window in cut]
            windows += more
            counts.append(len(more))
        scores = iter(self._loglikelihood_tokens(windows, disable_tqdm))
        sums = [sum(next(scores)[0] for _ in range(count)) for count in counts]
        for request, total in zip(requests, sums):
            self.cache_hook.add_partial("loglikelihood_rolling", request.args, total)
        return sums

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
        asked = [self._asked_text(*request.args) for request in requests]
        texts = []
        for request, one, found in zip(requests, asked, self._answers(asked, disable_tqdm)):
            text = self.tokenizer.decode(found["tokens"], skip_special_tokens=True)
            texts.append(model_utils.postprocess_generated_text(text, one["stop"], None))
            self.cache_hook.add_partial("generate_until", request.args, texts[-1])
        return texts

    def _asked_text(self, context: str, arguments: dict[str, Any]) -> dict[str, Any]:
        given = model_utils.normalize_gen_kwargs(arguments, self.max_gen_toks)
        ends = [] if self.eot_token_id is None else [self.eot_token_id]
        end = self.tokenizer.decode(ends, skip_special_tokens=False) or None
        stop = model_utils.handle_stop_sequences(given.pop("until"), eos=end)
        asked = {"context": self.tok_encode(context), "max_new_tokens": given.pop("max_gen_toks"),
                 "stop": [text for text in stop if text], "stop_tokens": ends}
        given.pop("do_sample")  # no: its temperature is 0 then
        for name, value in given.items():
            if name not in SAMPLING:
                raise ArgumentError("generation_kwargs", f"have {name!r}, which spinor does not do",
                                    _nearest(name, ["until", "max_gen_toks", "do_sample", *SAMPLING]))
            asked[SAMPLING[name]] = value
        return asked

    def _answers(self, requests: list[dict[str, Any]], quiet: bool) -> Iterable[dict[str, Any]]:
        if not requests:
            return []
        room = [self.max_length - one.get("max_new_tokens", len(one.get("continuation", ())) - 1) for one in requests]
        cut = sum(len(one["context"]) > left for one, left in zip(requests, room))
        if cut:
            logging.getLogger("spinor").warning("%d of %d contexts are longer than max_length %d allows: their first "
                                                "tokens are left out", cut, len(requests), self.max_length)
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            json.dump(requests, file)
            file.flush()
            return answer(self.pretrained, file.name, context=self.max_length, progress=False if quiet else None,
                          **self.options).answers


def _device(name: str | None) -> str | None:
    """lm-eval's command asks for cuda:0 where the user says nothing; as of hf that is the CPU where there is none."""
    return "cpu" if name and name.startswith("cuda") and not os.path.exists("/dev/nvidiactl") else name


def _transformers() -> Any:
    try:
        import transformers
    except ImportError:
        raise RunError("spinor.lm_eval", "reads tokenizers with transformers", "pip install transformers") from None
    return transformers


def _tokenizer(place: str, trust_remote_code: bool) -> Any:
    auto = _transformers().AutoTokenizer
    try:
        return auto.from_pretrained(place, trust_remote_code=trust_remote_code)
    except (OSError, ValueError) as error:
        raise InputError(place, f"has no tokenizer that transformers reads: {str(error).splitlines()[0]}",
                         "give tokenizer=, a directory that has one") from error


def _max_length(place: str, tokenizer: Any, trust_remote_code: bool) -> int:
    config = _transformers().AutoConfig.from_pretrained(place, trust_remote_code=trust_remote_code)
    return model_utils.resolve_max_length(config, tokenizer)


def main() -> None:
    """lm-eval's own command, which knows `--model spinor`."""
    from lm_eval.__main__ import cli_evaluate

    cli_evaluate()


if __name__ == "__main__":
    main()
