"""Writes spinor/tokenizer/unicode_versions.inc: where the Unicode versions of the Hugging Face tokenizers show.

Its expressions know the categories of Unicode 16, its normalization those of Unicode 9; the libraries here know others.
Needs a Python with Unicode 14 (3.11), the oldest version that the library under us may have.
"""

import functools
import unicodedata
from pathlib import Path

import regex
from tokenizers import Regex, normalizers, pre_tokenizers

OUT = Path(__file__).resolve().parents[2] / "spinor" / "tokenizer" / "unicode_versions.inc"
CHARACTERS = [chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000]
CATEGORIES = "Lu Ll Lt Lm Lo Mn Mc Me Nd Nl No Pc Pd Ps Pe Pi Pf Po Sm Sc Sk So Zs Zl Zp Cc Cf Co".split()


def members(category, characters):
    split = pre_tokenizers.Split(Regex(r"\p{" + category + "}"), "removed")
    return {character for character in characters if not split.pre_tokenize_str(character)}


def ranges(pairs):
    """(code, value) in order -> [first, last, value]."""
    found = []
    for code, value in pairs:
        if found and found[-1][1] == code - 1 and found[-1][2] == value:
            found[-1][1] = code
        else:
            found.append([code, code, value])
    return found


@functools.cache
def stand_in(category, size):
    """A character of Unicode 14 with this category and this many bytes, which no letter of ASCII is equal to."""
    if category == "Cn":  # the first two are not characters in any version; in two bytes there are no such
        return {4: 0x1FFFE, 3: 0xFDD0, 2: 0x0378}[size]
    for character in CHARACTERS:
        if len(character.encode()) == size and unicodedata.category(character) == category:
            if not any(c.isascii() for c in character.casefold() + character.lower() + character.upper()):
                return ord(character)
    raise ValueError((category, size))


def newer_than_14():
    """Characters that some library may know as something else than the peer's expressions do."""
    unassigned = [c for c in CHARACTERS if unicodedata.category(c) == "Cn"]
    category = dict.fromkeys(unassigned, "Cn")
    for name in CATEGORIES:
        category.update(dict.fromkeys(members(name, unassigned), name))
    changed = [c for c in unassigned if category[c] != "Cn" or not regex.fullmatch(r"\p{Cn}", c)]
    return {ord(c): stand_in(category[c], len(c.encode())) for c in changed}


def inert(newer):
    """Characters that the peer's normalization does not know, though they combine, decompose or compose."""
    nfc, nfd, nfkd = (getattr(normalizers, name)().normalize_str for name in ("NFC", "NFD", "NFKD"))
    found = set(newer)
    for character in CHARACTERS:
        parts = unicodedata.decomposition(character).split()
        pair = "\u0345" + character  # which everything that combines changes places with
        if unicodedata.combining(character) and nfd(pair) != unicodedata.normalize("NFD", pair):
            found.add(ord(character))
        if parts and nfkd(character) != unicodedata.normalize("NFKD", character):
            found.add(ord(character))
        if len(parts) == 2 and not parts[0].startswith("<"):
            pair = "".join(chr(int(part, 16)) for part in parts)
            if nfc(pair) != unicodedata.normalize("NFC", pair):
                found.update(map(ord, character + pair))
    return sorted(found)


def main():
    assert unicodedata.unidata_version.startswith("14."), unicodedata.unidata_version
    newer = newer_than_14()
    lines = ["// Written by tests/golden/make_unicode.py.", "", "constexpr StandIn kStandIns[] = {"]
    lines += [f"    {{0x{a:04X}, 0x{b:04X}, 0x{c:04X}}}," for a, b, c in ranges(sorted(newer.items()))]
    lines += ["};", "", "constexpr CharacterRange kInert[] = {"]
    lines += [f"    {{0x{a:04X}, 0x{b:04X}}}," for a, b, _ in ranges((code, 0) for code in inert(newer))]
    OUT.write_text("\n".join([*lines, "};", ""]))


main()
