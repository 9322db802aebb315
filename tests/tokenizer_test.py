"""`spinor tokenize` gives the ids, and the texts, of the Hugging Face tokenizers library.

$SPINOR_DATA names a folder with data/wiki.test.raw and models/stories260K; without it, ../shared is tried.
"""

import functools
import itertools
import json
import os
import random
import subprocess
import sys

import pytest
from tokenizers import Regex, Tokenizer, decoders

import tokenizer_families
from command import BINARY, ROOT, refused, spinor_json

sys.path.insert(0, str(ROOT / "demo"))
import smollm2  # noqa: E402

DATA = os.environ.get("SPINOR_DATA", ROOT.parent / "shared")
WIKI = ROOT / DATA / "data" / "wiki.test.raw"
STORIES = ROOT / DATA / "models" / "stories260K"
CODES = [code for code in range(0x110000) if not 0xD800 <= code < 0xE000]


@pytest.fixture(scope="session")
def family(tmp_path_factory):
    @functools.cache
    def made(name):
        directory = tmp_path_factory.mktemp(name)
        return directory, tokenizer_families.save(name, directory)

    return made


def ours(directory, text, scratch):
    path = scratch / "text"
    path.write_bytes(text.encode())
    return spinor_json("tokenize", directory, "--text", path)


def our_text(directory, ids, scratch, *options):
    path = scratch / "ids.json"
    path.write_text(json.dumps(ids))
    done = subprocess.run([BINARY, "tokenize", directory, "--decode", path, *options], capture_output=True, check=True)
    return done.stdout.decode()


def same_ids(directory, theirs, text, scratch):
    """The ids, which must be the same for both."""
    expected = theirs.encode(text, add_special_tokens=False).ids
    found = ours(directory, text, scratch)
    if found != expected:
        at = next((i for i, (a, b) in enumerate(zip(found, expected)) if a != b), min(len(found), len(expected)))
        around = theirs.decode(expected[max(at - 5, 0) : at + 5], skip_special_tokens=False)
        raise AssertionError(f"token {at}: {found[at : at + 8]} is not {expected[at : at + 8]}, near {around!r}")
    return expected


def compare(directory, theirs, text, scratch):
    ids = same_ids(directory, theirs, text, scratch)
    for skip in (False, True):
        decoded = our_text(directory, ids, scratch, *(["--skip-special"] if skip else []))
        assert decoded == theirs.decode(ids, skip_special_tokens=skip)


HOSTILE = [
    "",
    " ",
    "a",
    "\n",
    "  two  spaces   three\t\ttabs \r\n\r\n\n\n\n crlf \x0b\x0c\x85\u2028\u2029 \u3000\u180e\u200b",
    "I'M we'Ll 'ſ ’s 'S it's IT'S they'RE 'K 'k",
    "0123456789 ١٢٣ ²³¹ ½ Ⅷ 一二三 𝟘𝟙𝟚 1234567",
    "e\u0301 \u00e9 A\u030a \u212b \u1e9b\u0323 q\u0307\u0323 q\u0323\u0307 \u0344 \u0f73 \u0958 "
    "\ufb01n\u00e9 fin\u00e9",
    "\u1100\u1161\u11a8 가 각 \uac00\u11a8 \u1100\uac00 ㅎㅏㄴ",
    "👩‍👩‍👧‍👦 🏳️‍🌈 👍🏽 🇩🇪🇫🇷 ☕️ 1️⃣",
    "مرحبا بالعالم ‏שלום\u05b0\u05bc‎ हिन्दी ภาษาไทย བོད་ཡིག",
    "\x00\x01\x02\x1f\x7f\x80\x9f\ufeff\ufffd\ufffe\uffff\U0010ffff",
    "<s>a</s> <s> b </s>c<unk>\n<|im_start|>user\n<|im_start|>xy<|im_end|><|im_end",
    "a <left> b  <left><left> c <right>  d<right> \n<both>\n <both> <both>x<think></think>  </think>",
    "word sword word2 word. words _word word word-word éword wordé \u0301word",
    "<right>   <left>   <right>\n\n\n<left>    <both>",
    "ﬁné finé ﬁne\u0301 ▁▁a ▁ b▁ <0x41> <0x0A>",
    "DIVES \U00011935\U00011930 \U00011938 TODHRI \U000105d2\u0307 \U000105c9 new \u088f\u0c5c\U00011de0\U00016d63",
    "a\u0345\u1acf \u0345\U0001e5ee \U00011f02\u0323 \u1abf\u0323\u0308 \u0cbc\U00010d69\u0323",
]


def random_text(generator, length):
    """Characters of all planes, and runs of the kinds that expressions care for."""
    alphabet = ["\n", "\r\n", " ", "\t", "'s", "'T", "1", "a", "B", "é", "é"[:1] + "\u0301", "中", "한", "\u0323", "!",
                "_"]
    parts = []
    while len(parts) < length:
        kind = generator.random()
        if kind < 0.3:
            parts.append(generator.choice(alphabet) * generator.choice([1, 1, 2, 3, 7]))
        elif kind < 0.5:
            parts.append(chr(generator.choice(CODES)))
        elif kind < 0.8:
            parts.append(chr(generator.randrange(0x20, 0x3100)))
        elif kind < 0.85:
            parts.append(generator.choice(tokenizer_families.SPECIAL))
        elif kind < 0.9:
            parts.append(generator.choice(tokenizer_families.ADDED).content)
        else:
            parts.append(" " + "".join(generator.choices("abcdefghijklmnopqrstuvwxyz", k=5)))
    return "".join(parts)


@pytest.mark.parametrize("name", tokenizer_families.FAMILIES)
def test_hostile_texts(name, family, tmp_path):
    directory, theirs = family(name)
    for text in HOSTILE:
        same_ids(directory, theirs, text, tmp_path)
    compare(directory, theirs, "".join(HOSTILE), tmp_path)
    compare(directory, theirs, random_text(random.Random(name), 20000), tmp_path)


@pytest.mark.parametrize("name", tokenizer_families.FAMILIES)
def test_every_code_point_in_context(name, family, tmp_path):
    directory, theirs = family(name)
    codes = CODES if name in ("qwen2", "gpt4o") else CODES[:0x20000]
    same_ids(directory, theirs, "".join(f"{chr(code)} a{chr(code)}" for code in codes), tmp_path)


@pytest.mark.parametrize("name", tokenizer_families.FAMILIES)
def test_long_runs(name, family, tmp_path):
    directory, theirs = family(name)
    for run in (" ", "\n", "7", "a", "\r\n", " \n", "é", "!", "A", "<s>"):
        same_ids(directory, theirs, "x" + run * 5000 + "x", tmp_path)


STEPS = {
    "bytes": decoders.ByteLevel(),
    "always": decoders.Metaspace(prepend_scheme="always"),
    "never": decoders.Metaspace(prepend_scheme="never"),
    "space": decoders.Replace(tokenizer_families.UNDERLINE, " "),
    "the": decoders.Replace("the", "<0x41>"),
    "digits": decoders.Replace(Regex("[0-9]+|e.?"), "n"),
    "fallback": decoders.ByteFallback(),
    "fuse": decoders.Fuse(),
    "left": decoders.Strip(" ", 2, 0),
    "right": decoders.Strip("e", 0, 1),
}
GGUF = [["fallback", "fuse", "space", "bytes"], ["fallback", "fuse", "space", "bytes", "left"]]  # as transformers makes


def decoder_sequences():
    """Those of GGUFs, every pair, and longer ones."""
    yield from GGUF
    yield from itertools.permutations(STEPS, 2)
    generator = random.Random(7)
    for _ in range(60):
        yield generator.choices(list(STEPS), k=generator.randint(3, 6))


def decoded_by_peer(theirs, ids):
    """None where it panics: Strip at the end of a token that is empty."""
    try:
        return theirs.decode(ids, skip_special_tokens=False)
    except BaseException as error:
        assert type(error).__name__ == "PanicException"
        return None


@pytest.mark.parametrize("name", ["gpt2", "llama2"])
def test_decoders_in_any_order(name, family, tmp_path):
    directory, theirs = family(name)
    document = json.loads((directory / "tokenizer.json").read_text())
    bytes_at = [token for token in (theirs.token_to_id(f"<0x{byte:02X}>") for byte in b"\xe2\x82\xac \xe2\x82")
                if token]
    words = theirs.encode(" the three 12 trees <both>e  e", add_special_tokens=False).ids
    compared = 0
    for sequence in decoder_sequences():
        theirs = Tokenizer.from_str(json.dumps(document))
        theirs.decoder = decoders.Sequence([STEPS[step] for step in sequence])
        theirs.save(str(tmp_path / "tokenizer.json"))
        for ids in (words, words + bytes_at + words):
            expected = decoded_by_peer(theirs, ids)
            if expected is None:
                continue
            assert our_text(tmp_path, ids, tmp_path) == expected, sequence
            compared += 1
    assert compared > 200


def tokenizer_directories():
    yield "stories260K", STORIES
    yield "SmolLM2", smollm2.CACHE / "float32"
    for name in tokenizer_families.FAMILIES:
        yield name, None


@pytest.mark.parametrize("name,directory", list(tokenizer_directories()), ids=lambda value: str(value).split("/")[-1])
def test_wikitext(name, directory, family, tmp_path):
    if not WIKI.exists():
        pytest.skip(f"no {WIKI}")
    if directory and not directory.exists():
        pytest.skip(f"no {directory}")
    if directory:
        theirs = Tokenizer.from_file(str(directory / "tokenizer.json"))
    else:
        directory, theirs = family(name)
    compare(directory, theirs, WIKI.read_text(encoding="utf-8"), tmp_path)


def test_smollm2_on_hostile_texts(tmp_path):
    directory = smollm2.CACHE / "float32"
    if not directory.exists():
        pytest.skip("SmolLM2 is not in .cache; make demo fetches it")
    theirs = Tokenizer.from_file(str(directory / "tokenizer.json"))
    compare(directory, theirs, "".join(HOSTILE) + random_text(random.Random(9), 20000), tmp_path)


def test_text_that_is_not_utf8_is_refused(family, tmp_path):
    (tmp_path / "text").write_bytes(b"ab\xff")
    assert refused("tokenize", family("gpt2")[0], "--text", tmp_path / "text") == "text: is not UTF-8 at byte 2"
