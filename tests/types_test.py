"""No type is defined twice: two of one name in one namespace break the one-definition rule in a program with both."""

import re
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# What is no code. Strings stay tokens, lest a brace in one count. A directive ends at a line that does not end in "\".
NO_CODE = re.compile(
    r'//[^\n]*|/\*.*?\*/|(?m:^[ \t]*#(?:\\\n|[^\n])*)|'
    r'R"(?P<end>[^(\s]*)\(.*?\)(?P=end)"|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])+\'', re.DOTALL)
TOKEN = re.compile(r"[A-Za-z_]\w*|\d[\w'.]*|::|\S")
ATTRIBUTE = re.compile(r"\[\[.*?\]\]|\balignas\([^()]*\)|\bfinal\b")
# From a class-key to its "{": class or struct or enum, perhaps a base clause.
TYPE = re.compile(r"(?:^|[\s>])(?:enum\s+(?:class|struct)|enum|class|struct|union)\s+"
                  r"(?P<name>\w+(?:\s*::\s*\w+)*)\s*(?::(?!:).*)?$")
NAMESPACE = re.compile(r"^(?:inline\s+)?namespace(?:\s+(?P<name>\w+(?:\s*::\s*\w+)*))?$")


def types(text):
    """The qualified names of types that other files could mean: not those of anonymous namespaces and of functions."""
    scopes = []  # a name each; None: what is inside is nobody else's
    statement = []
    code = ATTRIBUTE.sub(" ", NO_CODE.sub(lambda found: '""' if found[0][0] in "R\"'" else " ", text))
    for token in TOKEN.findall(code):
        if token == "{":
            head = " ".join(statement)
            named = NAMESPACE.match(head) or TYPE.search(head)
            name = named and named["name"] and named["name"].replace(" ", "")
            scopes.append(name)
            if name and not head.startswith(("namespace", "inline namespace")) and None not in scopes:
                yield "::".join(scopes)
        elif token == "}":
            scopes.pop()
        if token in "{};":
            statement = []
        else:
            statement.append(token)
    assert not scopes, "braces do not match"


def twice(files):
    places = defaultdict(list)
    for name, text in files:
        for found in types(text):
            places[found].append(name)
    return {found: names for found, names in places.items() if len(names) > 1}


def test_finds_what_is_defined_twice():
    first = """#include "x.h"
// says "x"
namespace a::b {
class X;
/* { */ enum class E : int { kOne };
struct X final : Y<int> { struct In { int i{}; }; };
}"""
    second = """#define OPEN {
namespace a { namespace { struct Own {}; }
void f() { struct E {}; const char* s = "}"; char c = '{'; }
template <class T> struct Twice { T t; }; template <> struct Twice<int> {};
namespace b { struct X { enum In { kOne }; }; } }"""
    assert twice([("1", first), ("2", second)]) == {"a::b::X": ["1", "2"], "a::b::X::In": ["1", "2"]}
    assert "a::Twice" in types(second) and not twice([("2", second)])


def test_no_type_is_defined_twice():
    paths = sorted(path for folder in ("spinor", "cli") for path in (ROOT / folder).rglob("*.*"))
    found = twice((str(path.relative_to(ROOT)), path.read_text()) for path in paths if path.suffix in (".h", ".cpp"))
    assert not found, "\n".join(f"{name}: {', '.join(places)}" for name, places in found.items())
