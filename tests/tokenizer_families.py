"""Small tokenizers with the normalizer, pre-tokenizer and decoder of each family, trained on Python's own sources."""

import json
import sysconfig
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

GPT4 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{%s}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+"
)
LLAMA3, QWEN2 = GPT4 % "1,3", (GPT4 % "1").replace(r"\p{N}{1}", r"\p{N}")
UPPER, LOWER = r"\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}", r"\p{Ll}\p{Lm}\p{Lo}\p{M}"
TEKKEN = (
    rf"[^\r\n\p{{L}}\p{{N}}]?[{UPPER}]*[{LOWER}]+|[^\r\n\p{{L}}\p{{N}}]?[{UPPER}]+[{LOWER}]*|\p{{N}}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
GPT4O = (
    rf"[^\r\n\p{{L}}\p{{N}}]?[{UPPER}]*[{LOWER}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    rf"|[^\r\n\p{{L}}\p{{N}}]?[{UPPER}]+[{LOWER}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
UNDERLINE = "▁"


def byte_level(prefix=False, regex=False):
    return pre_tokenizers.ByteLevel(add_prefix_space=prefix, use_regex=regex)


def splits(*patterns):
    """Each pattern isolated in turn, then bytes."""
    return pre_tokenizers.Sequence(
        [*(pre_tokenizers.Split(Regex(pattern), "isolated") for pattern in patterns), byte_level()]
    )


def sentencepiece_decoder():
    steps = [decoders.Replace(UNDERLINE, " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    return decoders.Sequence(steps)


def legacy_normalizer():
    return normalizers.Sequence([normalizers.Prepend(UNDERLINE), normalizers.Replace(" ", UNDERLINE)])


# family -> normalizer, pre-tokenizer, decoder (None: byte-level), options of the model
FAMILIES = {
    "gpt2": (None, byte_level(regex=True), None, {}),
    "gpt2_prefix": (None, byte_level(prefix=True, regex=True), None, {}),
    "llama3": (None, splits(LLAMA3), None, {"ignore_merges": True}),
    "qwen2": (normalizers.NFC(), splits(QWEN2), None, {}),
    "smollm2": (None, pre_tokenizers.Sequence([pre_tokenizers.Digits(True), byte_level(regex=True)]), None, {}),
    "tekken": (None, splits(TEKKEN), None, {"ignore_merges": True}),
    "gpt4o": (None, splits(GPT4O), None, {}),
    "deepseek": (
        None,
        splits(
            r"\p{N}{1,3}",
            r"[一-龥぀-ゟ゠-ヿ]+",
            r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"
            r"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        ),
        None,
        {},
    ),
    "falcon": (
        None,
        pre_tokenizers.Sequence(
            [
                pre_tokenizers.Punctuation("contiguous"),
                byte_level(regex=True),
                pre_tokenizers.Digits(False),
                pre_tokenizers.Split(Regex("[0-9][0-9][0-9]"), "isolated"),
            ]
        ),
        None,
        {},
    ),
    "words": (
        normalizers.Sequence([normalizers.Strip(), normalizers.NFD()]),
        pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Whitespace(), byte_level()]),
        None,
        {},
    ),
    "llama2": (legacy_normalizer(), None, sentencepiece_decoder(), {"byte_fallback": True, "fuse_unk": True}),
    "llama2_new": (
        None,
        pre_tokenizers.Metaspace(prepend_scheme="first", split=False),
        sentencepiece_decoder(),
        {"byte_fallback": True, "fuse_unk": True},
    ),
    "mistral": (
        None,
        pre_tokenizers.Metaspace(prepend_scheme="always", split=True),
        decoders.Metaspace(prepend_scheme="always"),
        {"fuse_unk": True},
    ),
    "never": (
        normalizers.NFKC(),
        pre_tokenizers.Metaspace(prepend_scheme="never"),
        decoders.Metaspace(prepend_scheme="never"),
        {"fuse_unk": False},
    ),
    "gemma": (
        normalizers.Replace(" ", UNDERLINE),
        pre_tokenizers.Split(" ", "merged_with_previous"),
        decoders.Sequence([decoders.Replace(UNDERLINE, " "), decoders.ByteFallback(), decoders.Fuse()]),
        {"byte_fallback": True, "fuse_unk": True},
    ),
}
SENTENCEPIECE = {"llama2", "llama2_new", "mistral", "never", "gemma"}
SPECIAL = ["<unk>", "<s>", "</s>", "<|im_start|>", "<|im_end|>"]
ADDED = [
    AddedToken("<think>", normalized=False),
    AddedToken("</think>", normalized=True),
    AddedToken("<left>", lstrip=True, normalized=False),
    AddedToken("<right>", rstrip=True, normalized=False),
    AddedToken("<both>", lstrip=True, rstrip=True, normalized=True),
    AddedToken("word", single_word=True, normalized=False),
    AddedToken("  ", normalized=False),
    AddedToken("\n\n\n", normalized=False),
    AddedToken("ﬁné", normalized=True),
    AddedToken("<|im_start|>x", normalized=False),
]


def training_text():
    library = Path(sysconfig.get_paths()["stdlib"])
    files = [*sorted(library.glob("*.py"))[:40], *sorted((library / "encodings").glob("[a-k]*.py"))]
    return [path.read_text(encoding="utf-8", errors="replace") for path in files]


def train(family, normalizer, pre_tokenizer, decoder, options):
    # Trained on words, because a whole file as one word takes the trainer minutes.
    bytewise = family not in SENTENCEPIECE
    words = pre_tokenizer if bytewise else pre_tokenizers.Metaspace(prepend_scheme="always")
    unknown = {} if bytewise else {"unk_token": "<unk>"}
    tokenizer = Tokenizer(models.BPE(**options, **unknown))
    tokenizer.pre_tokenizer = words
    trainer = trainers.BpeTrainer(
        vocab_size=2000,
        show_progress=False,
        special_tokens=[*SPECIAL, *(BYTES if options.get("byte_fallback") else [])],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet() if bytewise else [],
        limit_alphabet=2000 if bytewise else 120,
    )
    tokenizer.train_from_iterator(training_text(), trainer)
    document = json.loads(tokenizer.to_str())
    document["added_tokens"] = document["added_tokens"][: len(SPECIAL)]  # bytes are no added tokens
    tokenizer = Tokenizer.from_str(json.dumps(document))
    if normalizer:
        tokenizer.normalizer = normalizer
    if pre_tokenizer:
        tokenizer.pre_tokenizer = pre_tokenizer
    else:
        document = json.loads(tokenizer.to_str())
        document["pre_tokenizer"] = None
        tokenizer = Tokenizer.from_str(json.dumps(document))
    tokenizer.decoder = decoder or decoders.ByteLevel()
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    tokenizer.add_tokens(ADDED)
    return tokenizer


def save(family, directory):
    """tokenizer.json of the family in the directory, as the library reads it back."""
    tokenizer = train(family, *FAMILIES[family])
    directory.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(directory / "tokenizer.json"))
    return Tokenizer.from_file(str(directory / "tokenizer.json"))
