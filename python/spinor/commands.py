"""A table: a function for each command, with its options. Made by tools/python_commands.py."""

# ruff: noqa: A001
from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, Union

from spinor._listener import Progress
from spinor._result import Result
from spinor._run import command, run

Path = Union[str, "os.PathLike[str]"]
Model = Any  # a Path, or a model of transformers
Text = Union[str, "os.PathLike[str]", None]
Texts = Union[str, Sequence[str], None]
Recipe = Union[str, "os.PathLike[str]", Mapping[str, Any], Sequence[Mapping[str, Any]], None]


@command
def answer(
    model: Model,
    requests: Path,
    *,
    architecture: Texts = None,
    discover: bool = False,
    trust_remote_code: bool = False,
    context: int | None = None,
    recipe: Recipe = None,
    rotations: Texts = None,
    transform_type: Text = None,
    rotation: Text = None,
    seed: int | None = None,
    block_size: int | None = None,
    randomize: bool = False,
    precision: Text = None,
    vision: bool = False,
    mtp: Text = None,
    center_embeddings: bool = False,
    compat: Text = None,
    scheme: Text = None,
    group_size: int | None = None,
    targets: Texts = None,
    ignore: Texts = None,
    observer: Text = None,
    format: Text = None,
    quip: Texts = None,
    threads: int | None = None,
    dtype: Text = None,
    device: Text = None,
    memory: Text = None,
    activations: int | None = None,
    activations_symmetric: bool = False,
    activations_clip: float | None = None,
    kv: int | None = None,
    kv_symmetric: bool = False,
    kv_clip: float | None = None,
    progress: Progress = None,
) -> Result:
    """Many requests of a model in one run: how likely continuations are, and texts.

    model: A checkpoint directory, or org/name in the local Hugging Face cache; or a model of transformers in memory,
        which is saved on disk meanwhile
    requests: A JSON list: {"context": tokens, "continuation": tokens} asks how likely that is, {"context": tokens,
        "max_new_tokens": 64, "stop": texts} for a text
    architecture: A row (YAML) for an architecture that spinor does not know
    discover: Of an architecture that spinor does not know: find its row out from the model's own code
    trust_remote_code: Run the code that the model brings with it, to discover its row
    context: Most tokens that the model sees at once: of a longer context the first are left out; 0: any number (default
        0)
    recipe: A recipe (YAML or JSON), instead of the options below: a file, or text of several lines
    rotations: R1 (residual stream), R2 (value heads), R3 (queries and keys), R4 (input of down_proj); rotate's default:
        R1,R2
    transform_type: auto (default): hadamard where a power of two, else random-hadamard where that is known, else
        random-orthogonal; auto-random: without the first; or one of these, or random-matrix
    rotation: A safetensors file of matrices of your own, R1 and R2 or R2.<layer>, orthogonal, and of exact scales;
        rotations that it does not have are drawn
    seed: Seed of the random types; default as compressed-tensors: 67280421310721
    block_size: R1 and R4 as block-diagonal matrices with blocks of this size
    randomize: Permute each matrix at random
    precision: Arithmetic: float64 (default) or float32
    vision: An R1 of its own for the residual stream of the vision tower
    mtp: Layers for multi-token prediction that R1 would change: drop (left out) or approximate
    center_embeddings: Subtract each embedding's mean first, as llm-compressor does; changes RMSNorm models
    compat: llm-compressor: do what it does, also where that is not exact
    scheme: A preset: W4A16, W8A8, FP8_DYNAMIC, MXFP4A16, ...
    group_size: Columns that share a scale, in a scheme with groups: 64 instead of its 128
    targets: Modules to quantize: names, re: regexes, classes; default Linear
    ignore: Modules to leave as they are; default lm_head
    observer: How scales are found: minmax (default), mse, or imatrix_mse, which needs calibration
    format: As in compressed-tensors; dense: quantized, then stored as numbers, rotated back where a loader would have
        to rotate; default by the scheme
    quip: QuIP's rotations of every linear: v (input side), u (output side); online
    threads: Threads (0: all) (default 0)
    dtype: Type of all arithmetic: float64, float32, bfloat16 or float16 (default float32)
    device: As torch spells it: cpu, cuda, cuda:1 (default cpu)
    memory: Most memory for weights and activations, e.g. 3GB: with less than the model takes, one layer at a time is
        held; default half of what is free
    activations: Quantize the inputs of the layers' linears to so many bits, per token; 16: as the checkpoint declares
        (default 16)
    activations_symmetric: Symmetric instead of asymmetric
    activations_clip: Multiplies the range of a token (default 1)
    kv: Quantize keys and values to so many bits, per token and head (default 16)
    kv_symmetric: Symmetric instead of asymmetric
    kv_clip: Multiplies the range of a head (default 1)
    progress: A bar (needs tqdm): True or False; or a function of (what, done, all)

    The result has what `spinor answer --json` prints. Errors are spinor.Error.

    Example: spinor.answer("Llama-3.2-1B", "requests.json", scheme="W4A16").answers[0]["log_likelihood"]
    """
    return run("answer", ("model", "requests"), locals())


@command
def compare(
    model: Model,
    *,
    architecture: Texts = None,
    discover: bool = False,
    trust_remote_code: bool = False,
    context: int | None = None,
    stride: int | None = None,
    samples: int | None = None,
    recipe: Recipe = None,
    rotations: Texts = None,
    transform_type: Text = None,
    rotation: Text = None,
    seed: int | None = None,
    block_size: int | None = None,
    randomize: bool = False,
    precision: Text = None,
    vision: bool = False,
    mtp: Text = None,
    center_embeddings: bool = False,
    compat: Text = None,
    scheme: Text = None,
    group_size: int | None = None,
    targets: Texts = None,
    ignore: Texts = None,
    observer: Text = None,
    format: Text = None,
    quip: Texts = None,
    threads: int | None = None,
    dtype: Text = None,
    device: Text = None,
    memory: Text = None,
    activations: int | None = None,
    activations_symmetric: bool = False,
    activations_clip: float | None = None,
    kv: int | None = None,
    kv_symmetric: bool = False,
    kv_clip: float | None = None,
    rank: int | None = None,
    ranks: int | None = None,
    rank_timeout: float | None = None,
    calibration: Text = None,
    calibration_samples: int | None = None,
    calibration_context: int | None = None,
    calibration_seed: int | None = None,
    calibration_bos: bool = False,
    calibration_all_experts: bool = False,
    calibration_memory: Text = None,
    calibration_device: Text = None,
    seeds: int | None = None,
    learn: bool = False,
    best_of: int | None = None,
    first_seed: int | None = None,
    text: Text = None,
    token_ids: Text = None,
    bos: bool = False,
    progress: Progress = None,
) -> Result:
    """Should this model be rotated? A recipe with and without rotations, over several seeds.

    model: A checkpoint directory, or org/name in the local Hugging Face cache; or a model of transformers in memory,
        which is saved on disk meanwhile
    architecture: A row (YAML) for an architecture that spinor does not know
    discover: Of an architecture that spinor does not know: find its row out from the model's own code
    trust_remote_code: Run the code that the model brings with it, to discover its row
    context: Tokens in a window (default 2048)
    stride: From one window to the next, so that tokens have a context; 0: windows do not overlap (default 0)
    samples: Only the first so many windows; 0: all (default 0)
    recipe: A recipe (YAML or JSON), instead of the options below: a file, or text of several lines
    rotations: R1 (residual stream), R2 (value heads), R3 (queries and keys), R4 (input of down_proj); rotate's default:
        R1,R2
    transform_type: auto (default): hadamard where a power of two, else random-hadamard where that is known, else
        random-orthogonal; auto-random: without the first; or one of these, or random-matrix
    rotation: A safetensors file of matrices of your own, R1 and R2 or R2.<layer>, orthogonal, and of exact scales;
        rotations that it does not have are drawn
    seed: Seed of the random types; default as compressed-tensors: 67280421310721
    block_size: R1 and R4 as block-diagonal matrices with blocks of this size
    randomize: Permute each matrix at random
    precision: Arithmetic: float64 (default) or float32
    vision: An R1 of its own for the residual stream of the vision tower
    mtp: Layers for multi-token prediction that R1 would change: drop (left out) or approximate
    center_embeddings: Subtract each embedding's mean first, as llm-compressor does; changes RMSNorm models
    compat: llm-compressor: do what it does, also where that is not exact
    scheme: A preset: W4A16, W8A8, FP8_DYNAMIC, MXFP4A16, ...
    group_size: Columns that share a scale, in a scheme with groups: 64 instead of its 128
    targets: Modules to quantize: names, re: regexes, classes; default Linear
    ignore: Modules to leave as they are; default lm_head
    observer: How scales are found: minmax (default), mse, or imatrix_mse, which needs calibration
    format: As in compressed-tensors; dense: quantized, then stored as numbers, rotated back where a loader would have
        to rotate; default by the scheme
    quip: QuIP's rotations of every linear: v (input side), u (output side); online
    threads: Threads (0: all) (default 0)
    dtype: Type of all arithmetic: float64, float32, bfloat16 or float16 (default float32)
    device: As torch spells it: cpu, cuda, cuda:1 (default cpu)
    memory: Most memory for weights and activations, e.g. 3GB: with less than the model takes, one layer at a time is
        held; default half of what is free
    activations: Quantize the inputs of the layers' linears to so many bits, per token; 16: as the checkpoint declares
        (default 16)
    activations_symmetric: Symmetric instead of asymmetric
    activations_clip: Multiplies the range of a token (default 1)
    kv: Quantize keys and values to so many bits, per token and head (default 16)
    kv_symmetric: Symmetric instead of asymmetric
    kv_clip: Multiplies the range of a head (default 1)
    rank: This process's share: 0 to RANKS-1; default as torchrun, srun or mpirun say
    ranks: How many processes share the windows together, at one time; 1: alone
    rank_timeout: Seconds after which a launched rank that is not heard of is an error (default 300)
    calibration: Text for what needs data (GPTQ, imatrix, static scales, learning): a file, .jsonl rows, a directory of
        them, or .json tokens
    calibration_samples: How many pieces of it; learning takes others (default 128)
    calibration_context: Tokens in each (default 2048)
    calibration_seed: Which pieces, where there are more (default 0)
    calibration_bos: Begin each with the tokenizer's bos token
    calibration_all_experts: Every expert of a mixture sees every token, as in llm-compressor; slower
    calibration_memory: For weights and activations, e.g. 8GB; what is more goes to a file; default: half of what is
        free
    calibration_device: Where the model runs: cpu, cuda, cuda:1 (default cpu)
    seeds: Random matrices of each kind to try (default 4)
    learn: A row with rotations learned from calibration
    best_of: A row with the best of so many seeds, chosen on calibration (default 1)
    first_seed: The seeds count up from here (default 1)
    text: A text file, or .jsonl whose rows' "text" a blank line joins
    token_ids: Tokens instead of text: a JSON list
    bos: Begin every window with the tokenizer's bos token
    progress: A bar (needs tqdm): True or False; or a function of (what, done, all)

    The result has what `spinor compare --json` prints. Errors are spinor.Error.

    Example: spinor.compare("Llama-3.2-1B", text="wiki.txt", scheme="W4A16").rotate
    """
    return run("compare", ("model",), locals())


@command
def dequantize(
    model: Model,
    out: Path,
    *,
    architecture: Texts = None,
    discover: bool = False,
    trust_remote_code: bool = False,
    dtype: Text = None,
    max_shard_size: Text = None,
    rank: int | None = None,
    ranks: int | None = None,
    rank_timeout: float | None = None,
    threads: int | None = None,
    force: bool = False,
    discard_partial: bool = False,
    progress: Progress = None,
) -> Result:
    """Write a quantized checkpoint as plain numbers, its online transforms in the weights.

    model: A checkpoint directory, or org/name in the local Hugging Face cache; or a model of transformers in memory,
        which is saved on disk meanwhile
    out: The directory to write
    architecture: A row (YAML) for an architecture that spinor does not know
    discover: Of an architecture that spinor does not know: find its row out from the model's own code
    trust_remote_code: Run the code that the model brings with it, to discover its row
    dtype: float64, float32, float16 or bfloat16; default as the source
    max_shard_size: Largest file, e.g. 5GB or 500MB (default 5GB)
    rank: This process's share: 0 to RANKS-1; default as torchrun, srun or mpirun say
    ranks: How many processes write OUT together, at one time or one after the other; 1: alone
    rank_timeout: Seconds after which a launched rank that is not heard of is an error (default 300)
    threads: Threads (0: all); the result does not depend on it (default 0)
    force: Replace an existing OUT, once the new one is complete
    discard_partial: Start again where an OUT.partial is another job's
    progress: A bar (needs tqdm): True or False; or a function of (what, done, all)

    The result has what `spinor dequantize --json` prints. Errors are spinor.Error.

    Example: spinor.dequantize("Llama-3.2-1B-w4a16", "Llama-3.2-1B-dense")
    """
    return run("dequantize", ("model", "out"), locals())


@command
def discover(
    model: Model,
    *,
    out: Text = None,
    trust_remote_code: bool = False,
    progress: Progress = None,
) -> Result:
    """Find out from a model's own code how it may be rotated, prove it, and write its row.

    model: A checkpoint directory, or org/name in the local Hugging Face cache; or a model of transformers in memory,
        which is saved on disk meanwhile
    out: Write the row into this file, instead of to stdout
    trust_remote_code: Run the code that the model brings with it
    progress: A bar (needs tqdm): True or False; or a function of (what, done, all)

    The result has what `spinor discover --json` prints. Errors are spinor.Error.

    Example: print(spinor.discover("NewModel-1B").row)
    """
    return run("discover", ("model",), locals())


@command
def eval(
    model: Model,
    *,
    architecture: Texts = None,
    discover: bool = False,
    trust_remote_code: bool = False,
    context: int | None = None,
    stride: int | None = None,
    samples: int | None = None,
    recipe: Recipe = None,
    rotations: Texts = None,
    transform_type: Text = None,
    rotation: Text = None,
    seed: int | None = None,
    block_size: int | None = None,
    randomize: bool = False,
    precision: Text = None,
    vision: bool = False,
    mtp: Text = None,
    center_embeddings: bool = False,
    compat: Text = None,
    scheme: Text = None,
    group_size: int | None = None,
    targets: Texts = None,
    ignore: Texts = None,
    observer: Text = None,
    format: Text = None,
    quip: Texts = None,
    threads: int | None = None,
    dtype: Text = None,
    device: Text = None,
    memory: Text = None,
    activations: int | None = None,
    activations_symmetric: bool = False,
    activations_clip: float | None = None,
    kv: int | None = None,
    kv_symmetric: bool = False,
    kv_clip: float | None = None,
    rank: int | None = None,
    ranks: int | None = None,
    rank_timeout: float | None = None,
    reference: Text = None,
    text: Text = None,
    token_ids: Text = None,
    bos: bool = False,
    progress: Progress = None,
) -> Result:
    """Perplexity of a model on a text, as it is or as a recipe would make it.

    model: A checkpoint directory, or org/name in the local Hugging Face cache; or a model of transformers in memory,
        which is saved on disk meanwhile
    architecture: A row (YAML) for an architecture that spinor does not know
    discover: Of an architecture that spinor does not know: find its row out from the model's own code
    trust_remote_code: Run the code that the model brings with it, to discover its row
    context: Tokens in a window (default 2048)
    stride: From one window to the next, so that tokens have a context; 0: windows do not overlap (default 0)
    samples: Only the first so many windows; 0: all (default 0)
    recipe: A recipe (YAML or JSON), instead of the options below: a file, or text of several lines
    rotations: R1 (residual stream), R2 (value heads), R3 (queries and keys), R4 (input of down_proj); rotate's default:
        R1,R2
    transform_type: auto (default): hadamard where a power of two, else random-hadamard where that is known, else
        random-orthogonal; auto-random: without the first; or one of these, or random-matrix
    rotation: A safetensors file of matrices of your own, R1 and R2 or R2.<layer>, orthogonal, and of exact scales;
        rotations that it does not have are drawn
    seed: Seed of the random types; default as compressed-tensors: 67280421310721
    block_size: R1 and R4 as block-diagonal matrices with blocks of this size
    randomize: Permute each matrix at random
    precision: Arithmetic: float64 (default) or float32
    vision: An R1 of its own for the residual stream of the vision tower
    mtp: Layers for multi-token prediction that R1 would change: drop (left out) or approximate
    center_embeddings: Subtract each embedding's mean first, as llm-compressor does; changes RMSNorm models
    compat: llm-compressor: do what it does, also where that is not exact
    scheme: A preset: W4A16, W8A8, FP8_DYNAMIC, MXFP4A16, ...
    group_size: Columns that share a scale, in a scheme with groups: 64 instead of its 128
    targets: Modules to quantize: names, re: regexes, classes; default Linear
    ignore: Modules to leave as they are; default lm_head
    observer: How scales are found: minmax (default), mse, or imatrix_mse, which needs calibration
    format: As in compressed-tensors; dense: quantized, then stored as numbers, rotated back where a loader would have
        to rotate; default by the scheme
    quip: QuIP's rotations of every linear: v (input side), u (output side); online
    threads: Threads (0: all) (default 0)
    dtype: Type of all arithmetic: float64, float32, bfloat16 or float16 (default float32)
    device: As torch spells it: cpu, cuda, cuda:1 (default cpu)
    memory: Most memory for weights and activations, e.g. 3GB: with less than the model takes, one layer at a time is
        held; default half of what is free
    activations: Quantize the inputs of the layers' linears to so many bits, per token; 16: as the checkpoint declares
        (default 16)
    activations_symmetric: Symmetric instead of asymmetric
    activations_clip: Multiplies the range of a token (default 1)
    kv: Quantize keys and values to so many bits, per token and head (default 16)
    kv_symmetric: Symmetric instead of asymmetric
    kv_clip: Multiplies the range of a head (default 1)
    rank: This process's share: 0 to RANKS-1; default as torchrun, srun or mpirun say
    ranks: How many processes share the windows together, at one time; 1: alone
    rank_timeout: Seconds after which a launched rank that is not heard of is an error (default 300)
    reference: Another checkpoint: also KL divergence and agreement with it
    text: A text file, or .jsonl whose rows' "text" a blank line joins
    token_ids: Tokens instead of text: a JSON list
    bos: Begin every window with the tokenizer's bos token
    progress: A bar (needs tqdm): True or False; or a function of (what, done, all)

    The result has what `spinor eval --json` prints. Errors are spinor.Error.

    Example: spinor.eval("Llama-3.2-1B", text="wiki.txt", context=2048).perplexity
    """
    return run("eval", ("model",), locals())


@command
def generate(
    model: Model,
    *,
    architecture: Texts = None,
    discover: bool = False,
    trust_remote_code: bool = False,
    prompt: Text,
    bos: bool = False,
    max_new_tokens: int | None = None,
    temperature: float | None = None,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int | None = None,
    threads: int | None = None,
    dtype: Text = None,
    device: Text = None,
    memory: Text = None,
    activations: int | None = None,
    activations_symmetric: bool = False,
    activations_clip: float | None = None,
    kv: int | None = None,
    kv_symmetric: bool = False,
    kv_clip: float | None = None,
    progress: Progress = None,
) -> Result:
    """Continue a prompt.

    model: A checkpoint directory, or org/name in the local Hugging Face cache; or a model of transformers in memory,
        which is saved on disk meanwhile
    architecture: A row (YAML) for an architecture that spinor does not know
    discover: Of an architecture that spinor does not know: find its row out from the model's own code
    trust_remote_code: Run the code that the model brings with it, to discover its row
    prompt: The text to continue; special tokens in it count as such
    bos: Begin with the tokenizer's bos token
    max_new_tokens: At most so many (default 128)
    temperature: 0: always the most likely token (default 0)
    top_k: Only the k most likely tokens; 0: all (default 0)
    top_p: Only the most likely tokens that together have this probability (default 1)
    seed: One seed, one text (default 0)
    threads: Threads (0: all) (default 0)
    dtype: Type of all arithmetic: float64, float32, bfloat16 or float16 (default float32)
    device: As torch spells it: cpu, cuda, cuda:1 (default cpu)
    memory: Most memory for weights and activations, e.g. 3GB: with less than the model takes, one layer at a time is
        held; default half of what is free
    activations: Quantize the inputs of the layers' linears to so many bits, per token; 16: as the checkpoint declares
        (default 16)
    activations_symmetric: Symmetric instead of asymmetric
    activations_clip: Multiplies the range of a token (default 1)
    kv: Quantize keys and values to so many bits, per token and head (default 16)
    kv_symmetric: Symmetric instead of asymmetric
    kv_clip: Multiplies the range of a head (default 1)
    progress: A bar (needs tqdm): True or False; or a function of (what, done, all)

    The result has what `spinor generate --json` prints. Errors are spinor.Error.

    Example: spinor.generate("Llama-3.2-1B", prompt="The sea is", max_new_tokens=20).text
    """
    return run("generate", ("model",), locals())


@command
def inspect(
    model: Model,
    *,
    architecture: Texts = None,
    discover: bool = False,
    trust_remote_code: bool = False,
    outliers: bool = False,
    recipe: Recipe = None,
    rotations: Texts = None,
    transform_type: Text = None,
    rotation: Text = None,
    seed: int | None = None,
    block_size: int | None = None,
    randomize: bool = False,
    precision: Text = None,
    vision: bool = False,
    mtp: Text = None,
    center_embeddings: bool = False,
    compat: Text = None,
    threads: int | None = None,
    progress: Progress = None,
) -> Result:
    """Show a checkpoint: roles of its tensors, what is legal and why not, outliers.

    model: A checkpoint directory, or org/name in the local Hugging Face cache; or a model of transformers in memory,
        which is saved on disk meanwhile
    architecture: A row (YAML) for an architecture that spinor does not know
    discover: Of an architecture that spinor does not know: find its row out from the model's own code
    trust_remote_code: Run the code that the model brings with it, to discover its row
    outliers: Outlier statistics of every weight (reads the whole checkpoint)
    recipe: A recipe (YAML or JSON), instead of the options below: a file, or text of several lines
    rotations: R1 (residual stream), R2 (value heads), R3 (queries and keys), R4 (input of down_proj); rotate's default:
        R1,R2
    transform_type: auto (default): hadamard where a power of two, else random-hadamard where that is known, else
        random-orthogonal; auto-random: without the first; or one of these, or random-matrix
    rotation: A safetensors file of matrices of your own, R1 and R2 or R2.<layer>, orthogonal, and of exact scales;
        rotations that it does not have are drawn
    seed: Seed of the random types; default as compressed-tensors: 67280421310721
    block_size: R1 and R4 as block-diagonal matrices with blocks of this size
    randomize: Permute each matrix at random
    precision: Arithmetic: float64 (default) or float32
    vision: An R1 of its own for the residual stream of the vision tower
    mtp: Layers for multi-token prediction that R1 would change: drop (left out) or approximate
    center_embeddings: Subtract each embedding's mean first, as llm-compressor does; changes RMSNorm models
    compat: llm-compressor: do what it does, also where that is not exact
    threads: Threads (0: all); the result does not depend on it (default 0)
    progress: A bar (needs tqdm): True or False; or a function of (what, done, all)

    The result has what `spinor inspect --json` prints. Errors are spinor.Error.

    Example: print(spinor.inspect("Llama-3.2-1B"))
    """
    return run("inspect", ("model",), locals())


@command
def learn(
    model: Model,
    out: Path,
    *,
    architecture: Texts = None,
    discover: bool = False,
    trust_remote_code: bool = False,
    recipe: Recipe = None,
    rotations: Texts = None,
    transform_type: Text = None,
    rotation: Text = None,
    seed: int | None = None,
    block_size: int | None = None,
    randomize: bool = False,
    precision: Text = None,
    vision: bool = False,
    mtp: Text = None,
    center_embeddings: bool = False,
    compat: Text = None,
    objective: Text = None,
    calibration: Text = None,
    calibration_samples: int | None = None,
    calibration_context: int | None = None,
    calibration_seed: int | None = None,
    calibration_bos: bool = False,
    calibration_all_experts: bool = False,
    calibration_memory: Text = None,
    calibration_device: Text = None,
    threads: int | None = None,
    force: bool = False,
    progress: Progress = None,
) -> Result:
    """Learn rotations from a text and write them to a file, for rotation.

    model: A checkpoint directory, or org/name in the local Hugging Face cache; or a model of transformers in memory,
        which is saved on disk meanwhile
    out: The safetensors file to write
    architecture: A row (YAML) for an architecture that spinor does not know
    discover: Of an architecture that spinor does not know: find its row out from the model's own code
    trust_remote_code: Run the code that the model brings with it, to discover its row
    recipe: A recipe (YAML or JSON), instead of the options below: a file, or text of several lines
    rotations: R1 (residual stream), R2 (value heads), R3 (queries and keys), R4 (input of down_proj); rotate's default:
        R1,R2
    transform_type: auto (default): hadamard where a power of two, else random-hadamard where that is known, else
        random-orthogonal; auto-random: without the first; or one of these, or random-matrix
    rotation: A safetensors file of matrices of your own, R1 and R2 or R2.<layer>, orthogonal, and of exact scales;
        rotations that it does not have are drawn
    seed: Seed of the random types; default as compressed-tensors: 67280421310721
    block_size: R1 and R4 as block-diagonal matrices with blocks of this size
    randomize: Permute each matrix at random
    precision: Arithmetic: float64 (default) or float32
    vision: An R1 of its own for the residual stream of the vision tower
    mtp: Layers for multi-token prediction that R1 would change: drop (left out) or approximate
    center_embeddings: Subtract each embedding's mean first, as llm-compressor does; changes RMSNorm models
    compat: llm-compressor: do what it does, also where that is not exact
    objective: What learning makes small (docs/learning.md): psot (default) and others of rows; kl and cross_entropy of
        the whole quantized network, which takes longer
    calibration: Text for what needs data (GPTQ, imatrix, static scales, learning): a file, .jsonl rows, a directory of
        them, or .json tokens
    calibration_samples: How many pieces of it; learning takes others (default 128)
    calibration_context: Tokens in each (default 2048)
    calibration_seed: Which pieces, where there are more (default 0)
    calibration_bos: Begin each with the tokenizer's bos token
    calibration_all_experts: Every expert of a mixture sees every token, as in llm-compressor; slower
    calibration_memory: For weights and activations, e.g. 8GB; what is more goes to a file; default: half of what is
        free
    calibration_device: Where the model runs: cpu, cuda, cuda:1 (default cpu)
    threads: Threads (0: all); the result does not depend on it (default 0)
    force: Replace an existing file
    progress: A bar (needs tqdm): True or False; or a function of (what, done, all)

    The result has what `spinor learn --json` prints. Errors are spinor.Error.

    Example: spinor.learn("Llama-3.2-1B", "r1.safetensors", calibration="train.txt")
    """
    return run("learn", ("model", "out"), locals())


@command
def plan(
    model: Model,
    *,
    architecture: Texts = None,
    discover: bool = False,
    trust_remote_code: bool = False,
    recipe: Recipe = None,
    rotations: Texts = None,
    transform_type: Text = None,
    rotation: Text = None,
    seed: int | None = None,
    block_size: int | None = None,
    randomize: bool = False,
    precision: Text = None,
    vision: bool = False,
    mtp: Text = None,
    center_embeddings: bool = False,
    compat: Text = None,
    scheme: Text = None,
    group_size: int | None = None,
    targets: Texts = None,
    ignore: Texts = None,
    observer: Text = None,
    format: Text = None,
    quip: Texts = None,
    dtype: Text = None,
    max_shard_size: Text = None,
    threads: int | None = None,
    full: bool = False,
    ranks: int | None = None,
    bandwidth: Text = None,
    throughput: Text = None,
    flops: Text = None,
    calibration_samples: int | None = None,
    calibration_context: int | None = None,
    progress: Progress = None,
) -> Result:
    """Show what rotate or quantize would do to every tensor, its memory and its size; writes nothing.

    model: A checkpoint directory, or org/name in the local Hugging Face cache; or a model of transformers in memory,
        which is saved on disk meanwhile
    architecture: A row (YAML) for an architecture that spinor does not know
    discover: Of an architecture that spinor does not know: find its row out from the model's own code
    trust_remote_code: Run the code that the model brings with it, to discover its row
    recipe: A recipe (YAML or JSON), instead of the options below: a file, or text of several lines
    rotations: R1 (residual stream), R2 (value heads), R3 (queries and keys), R4 (input of down_proj); rotate's default:
        R1,R2
    transform_type: auto (default): hadamard where a power of two, else random-hadamard where that is known, else
        random-orthogonal; auto-random: without the first; or one of these, or random-matrix
    rotation: A safetensors file of matrices of your own, R1 and R2 or R2.<layer>, orthogonal, and of exact scales;
        rotations that it does not have are drawn
    seed: Seed of the random types; default as compressed-tensors: 67280421310721
    block_size: R1 and R4 as block-diagonal matrices with blocks of this size
    randomize: Permute each matrix at random
    precision: Arithmetic: float64 (default) or float32
    vision: An R1 of its own for the residual stream of the vision tower
    mtp: Layers for multi-token prediction that R1 would change: drop (left out) or approximate
    center_embeddings: Subtract each embedding's mean first, as llm-compressor does; changes RMSNorm models
    compat: llm-compressor: do what it does, also where that is not exact
    scheme: A preset: W4A16, W8A8, FP8_DYNAMIC, MXFP4A16, ...
    group_size: Columns that share a scale, in a scheme with groups: 64 instead of its 128
    targets: Modules to quantize: names, re: regexes, classes; default Linear
    ignore: Modules to leave as they are; default lm_head
    observer: How scales are found: minmax (default), mse, or imatrix_mse, which needs calibration
    format: As in compressed-tensors; dense: quantized, then stored as numbers, rotated back where a loader would have
        to rotate; default by the scheme
    quip: QuIP's rotations of every linear: v (input side), u (output side); online
    dtype: float64, float32, float16 or bfloat16; default as the source
    max_shard_size: Largest file, e.g. 5GB or 500MB (default 5GB)
    threads: Threads (0: all); the result does not depend on it (default 0)
    full: Print every layer and rank, not one line for those that are alike
    ranks: Say what each of so many processes would do
    bandwidth: What one process reads and writes, e.g. 2GB/s: then the time is said, too
    throughput: What one process computes, in bytes that it reads and writes, e.g. 1.2GB/s, if that is less
    flops: Floating point operations of one process, e.g. 100G/s: then the time of calibration, too
    calibration_samples: Of a recipe that needs data (default 128)
    calibration_context: Tokens of each (default 2048)
    progress: A bar (needs tqdm): True or False; or a function of (what, done, all)

    The result has what `spinor plan --json` prints. Errors are spinor.Error.

    Example: spinor.plan("Llama-3.2-1B", scheme="W4A16").peak_memory
    """
    return run("plan", ("model",), locals())


@command
def quantize(
    model: Model,
    out: Path,
    *,
    architecture: Texts = None,
    discover: bool = False,
    trust_remote_code: bool = False,
    recipe: Recipe = None,
    rotations: Texts = None,
    transform_type: Text = None,
    rotation: Text = None,
    seed: int | None = None,
    block_size: int | None = None,
    randomize: bool = False,
    precision: Text = None,
    vision: bool = False,
    mtp: Text = None,
    center_embeddings: bool = False,
    compat: Text = None,
    scheme: Text = None,
    group_size: int | None = None,
    targets: Texts = None,
    ignore: Texts = None,
    observer: Text = None,
    format: Text = None,
    quip: Texts = None,
    learn: bool = False,
    best_of: int | None = None,
    objective: Text = None,
    calibration: Text = None,
    calibration_samples: int | None = None,
    calibration_context: int | None = None,
    calibration_seed: int | None = None,
    calibration_bos: bool = False,
    calibration_all_experts: bool = False,
    calibration_memory: Text = None,
    calibration_device: Text = None,
    dtype: Text = None,
    max_shard_size: Text = None,
    rank: int | None = None,
    ranks: int | None = None,
    rank_timeout: float | None = None,
    threads: int | None = None,
    for_: Texts = None,
    force: bool = False,
    discard_partial: bool = False,
    progress: Progress = None,
) -> Result:
    """Rotate and quantize a checkpoint and write it to a new directory.

    model: A checkpoint directory, or org/name in the local Hugging Face cache; or a model of transformers in memory,
        which is saved on disk meanwhile
    out: The directory to write
    architecture: A row (YAML) for an architecture that spinor does not know
    discover: Of an architecture that spinor does not know: find its row out from the model's own code
    trust_remote_code: Run the code that the model brings with it, to discover its row
    recipe: A recipe (YAML or JSON), instead of the options below: a file, or text of several lines
    rotations: R1 (residual stream), R2 (value heads), R3 (queries and keys), R4 (input of down_proj); rotate's default:
        R1,R2
    transform_type: auto (default): hadamard where a power of two, else random-hadamard where that is known, else
        random-orthogonal; auto-random: without the first; or one of these, or random-matrix
    rotation: A safetensors file of matrices of your own, R1 and R2 or R2.<layer>, orthogonal, and of exact scales;
        rotations that it does not have are drawn
    seed: Seed of the random types; default as compressed-tensors: 67280421310721
    block_size: R1 and R4 as block-diagonal matrices with blocks of this size
    randomize: Permute each matrix at random
    precision: Arithmetic: float64 (default) or float32
    vision: An R1 of its own for the residual stream of the vision tower
    mtp: Layers for multi-token prediction that R1 would change: drop (left out) or approximate
    center_embeddings: Subtract each embedding's mean first, as llm-compressor does; changes RMSNorm models
    compat: llm-compressor: do what it does, also where that is not exact
    scheme: A preset: W4A16, W8A8, FP8_DYNAMIC, MXFP4A16, ...
    group_size: Columns that share a scale, in a scheme with groups: 64 instead of its 128
    targets: Modules to quantize: names, re: regexes, classes; default Linear
    ignore: Modules to leave as they are; default lm_head
    observer: How scales are found: minmax (default), mse, or imatrix_mse, which needs calibration
    format: As in compressed-tensors; dense: quantized, then stored as numbers, rotated back where a loader would have
        to rotate; default by the scheme
    quip: QuIP's rotations of every linear: v (input side), u (output side); online
    learn: Learn R1, and scales beside it, from the text of calibration, in windows of calibration_context tokens (512);
        kept only where held-out text says that they help
    best_of: Try so many seeds, from seed on, on that text, and take the best
    objective: What learning makes small (docs/learning.md): psot (default) and others of rows; kl and cross_entropy of
        the whole quantized network, which takes longer
    calibration: Text for what needs data (GPTQ, imatrix, static scales, learning): a file, .jsonl rows, a directory of
        them, or .json tokens
    calibration_samples: How many pieces of it; learning takes others (default 128)
    calibration_context: Tokens in each (default 2048)
    calibration_seed: Which pieces, where there are more (default 0)
    calibration_bos: Begin each with the tokenizer's bos token
    calibration_all_experts: Every expert of a mixture sees every token, as in llm-compressor; slower
    calibration_memory: For weights and activations, e.g. 8GB; what is more goes to a file; default: half of what is
        free
    calibration_device: Where the model runs: cpu, cuda, cuda:1 (default cpu)
    dtype: float64, float32, float16 or bfloat16; default as the source
    max_shard_size: Largest file, e.g. 5GB or 500MB (default 5GB)
    rank: This process's share: 0 to RANKS-1; default as torchrun, srun or mpirun say
    ranks: How many processes write OUT together, at one time or one after the other; 1: alone
    rank_timeout: Seconds after which a launched rank that is not heard of is an error (default 300)
    threads: Threads (0: all); the result does not depend on it (default 0)
    for_: transformers, vllm, sglang, llama.cpp: refuse what one of these would load wrongly
    force: Replace an existing OUT, once the new one is complete
    discard_partial: Start again where an OUT.partial is another job's
    progress: A bar (needs tqdm): True or False; or a function of (what, done, all)

    The result has what `spinor quantize --json` prints. Errors are spinor.Error.

    Example: spinor.quantize("Llama-3.2-1B", "Llama-3.2-1B-w4a16", scheme="W4A16", rotations=["R1", "R2"])
    """
    return run("quantize", ("model", "out"), locals())


@command
def rotate(
    model: Model,
    out: Path,
    *,
    architecture: Texts = None,
    discover: bool = False,
    trust_remote_code: bool = False,
    recipe: Recipe = None,
    rotations: Texts = None,
    transform_type: Text = None,
    rotation: Text = None,
    seed: int | None = None,
    block_size: int | None = None,
    randomize: bool = False,
    precision: Text = None,
    vision: bool = False,
    mtp: Text = None,
    center_embeddings: bool = False,
    compat: Text = None,
    inverse: bool = False,
    learn: bool = False,
    best_of: int | None = None,
    objective: Text = None,
    calibration: Text = None,
    calibration_samples: int | None = None,
    calibration_context: int | None = None,
    calibration_seed: int | None = None,
    calibration_bos: bool = False,
    calibration_all_experts: bool = False,
    calibration_memory: Text = None,
    calibration_device: Text = None,
    dtype: Text = None,
    max_shard_size: Text = None,
    rank: int | None = None,
    ranks: int | None = None,
    rank_timeout: float | None = None,
    threads: int | None = None,
    for_: Texts = None,
    force: bool = False,
    discard_partial: bool = False,
    progress: Progress = None,
) -> Result:
    """Rotate a checkpoint and write it to a new directory.

    model: A checkpoint directory, or org/name in the local Hugging Face cache; or a model of transformers in memory,
        which is saved on disk meanwhile
    out: The directory to write
    architecture: A row (YAML) for an architecture that spinor does not know
    discover: Of an architecture that spinor does not know: find its row out from the model's own code
    trust_remote_code: Run the code that the model brings with it, to discover its row
    recipe: A recipe (YAML or JSON), instead of the options below: a file, or text of several lines
    rotations: R1 (residual stream), R2 (value heads), R3 (queries and keys), R4 (input of down_proj); rotate's default:
        R1,R2
    transform_type: auto (default): hadamard where a power of two, else random-hadamard where that is known, else
        random-orthogonal; auto-random: without the first; or one of these, or random-matrix
    rotation: A safetensors file of matrices of your own, R1 and R2 or R2.<layer>, orthogonal, and of exact scales;
        rotations that it does not have are drawn
    seed: Seed of the random types; default as compressed-tensors: 67280421310721
    block_size: R1 and R4 as block-diagonal matrices with blocks of this size
    randomize: Permute each matrix at random
    precision: Arithmetic: float64 (default) or float32
    vision: An R1 of its own for the residual stream of the vision tower
    mtp: Layers for multi-token prediction that R1 would change: drop (left out) or approximate
    center_embeddings: Subtract each embedding's mean first, as llm-compressor does; changes RMSNorm models
    compat: llm-compressor: do what it does, also where that is not exact
    inverse: Undo the rotations that MODEL's recipe.yaml or config.json names
    learn: Learn R1, and scales beside it, from the text of calibration, in windows of calibration_context tokens (512);
        kept only where held-out text says that they help
    best_of: Try so many seeds, from seed on, on that text, and take the best
    objective: What learning makes small (docs/learning.md): psot (default) and others of rows; kl and cross_entropy of
        the whole quantized network, which takes longer
    calibration: Text for what needs data (GPTQ, imatrix, static scales, learning): a file, .jsonl rows, a directory of
        them, or .json tokens
    calibration_samples: How many pieces of it; learning takes others (default 128)
    calibration_context: Tokens in each (default 2048)
    calibration_seed: Which pieces, where there are more (default 0)
    calibration_bos: Begin each with the tokenizer's bos token
    calibration_all_experts: Every expert of a mixture sees every token, as in llm-compressor; slower
    calibration_memory: For weights and activations, e.g. 8GB; what is more goes to a file; default: half of what is
        free
    calibration_device: Where the model runs: cpu, cuda, cuda:1 (default cpu)
    dtype: float64, float32, float16 or bfloat16; default as the source
    max_shard_size: Largest file, e.g. 5GB or 500MB (default 5GB)
    rank: This process's share: 0 to RANKS-1; default as torchrun, srun or mpirun say
    ranks: How many processes write OUT together, at one time or one after the other; 1: alone
    rank_timeout: Seconds after which a launched rank that is not heard of is an error (default 300)
    threads: Threads (0: all); the result does not depend on it (default 0)
    for_: transformers, vllm, sglang, llama.cpp: refuse what one of these would load wrongly
    force: Replace an existing OUT, once the new one is complete
    discard_partial: Start again where an OUT.partial is another job's
    progress: A bar (needs tqdm): True or False; or a function of (what, done, all)

    The result has what `spinor rotate --json` prints. Errors are spinor.Error.

    Example: spinor.rotate("Llama-3.2-1B", "Llama-3.2-1B-rotated")
    """
    return run("rotate", ("model", "out"), locals())


@command
def tokenize(
    model: Model,
    *,
    architecture: Texts = None,
    discover: bool = False,
    trust_remote_code: bool = False,
    skip_special: bool = False,
    text: Text = None,
    decode: Text = None,
    progress: Progress = None,
) -> Result:
    """Turn a text into the tokens of a model's tokenizer.json, or back.

    model: A directory with tokenizer.json, or org/name in the local Hugging Face cache; or a model of transformers in
        memory, which is saved on disk meanwhile
    architecture: A row (YAML) for an architecture that spinor does not know
    discover: Of an architecture that spinor does not know: find its row out from the model's own code
    trust_remote_code: Run the code that the model brings with it, to discover its row
    skip_special: Leave special tokens out of the text
    text: A UTF-8 file: print its tokens; special tokens in it are found, none are added
    decode: A JSON file with a list of tokens: print their text, and nothing else
    progress: A bar (needs tqdm): True or False; or a function of (what, done, all)

    The result has what `spinor tokenize --json` prints. Errors are spinor.Error.

    Example: spinor.tokenize("Llama-3.2-1B", text="wiki.txt").tokens
    """
    return run("tokenize", ("model",), locals())


@command
def verify(
    model: Model,
    out: Path,
    *,
    architecture: Texts = None,
    discover: bool = False,
    trust_remote_code: bool = False,
    probe_seed: int | None = None,
    random_tokens: int | None = None,
    rank: int | None = None,
    ranks: int | None = None,
    threads: int | None = None,
    dtype: Text = None,
    device: Text = None,
    memory: Text = None,
    text: Text = None,
    token_ids: Text = None,
    bos: bool = False,
    progress: Progress = None,
) -> Result:
    """Check that a rotated checkpoint is the same function as its source.

    model: The source checkpoint; or a model of transformers in memory, which is saved on disk meanwhile
    out: The rotated checkpoint
    architecture: A row (YAML) for an architecture that spinor does not know
    discover: Of an architecture that spinor does not know: find its row out from the model's own code
    trust_remote_code: Run the code that the model brings with it, to discover its row
    probe_seed: Seed of the random probes (default 1)
    random_tokens: Run both models on so many random tokens
    rank: This process's share: 0 to RANKS-1; default as torchrun, srun or mpirun say
    ranks: How many processes check OUT together, at one time or one after the other; 1: alone
    threads: Threads (0: all) (default 0)
    dtype: Type of all arithmetic: float64, float32, bfloat16 or float16 (default float64)
    device: As torch spells it: cpu, cuda, cuda:1 (default cpu)
    memory: Most memory for weights and activations, e.g. 3GB: with less than the model takes, one layer at a time is
        held; default half of what is free
    text: A text file, or .jsonl whose rows' "text" a blank line joins
    token_ids: Tokens instead of text: a JSON list
    bos: Begin every window with the tokenizer's bos token
    progress: A bar (needs tqdm): True or False; or a function of (what, done, all)

    The result has what `spinor verify --json` prints. Errors are spinor.Error.

    Example: spinor.verify("Llama-3.2-1B", "Llama-3.2-1B-rotated")
    """
    return run("verify", ("model", "out"), locals())
