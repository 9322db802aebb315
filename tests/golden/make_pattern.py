"""Writes pattern.json: what Python's re.match says about targets used in this field, and about the corners of its
grammar.

A row is [target, one digit per name] or [target, null, error message]. Run: python3 make_pattern.py > pattern.json
(Python 3.11).
"""

import json
import re
import warnings

NAMES = [
    "lm_head", "model", "model.norm", "model.layers.1.self_attn.q_proj", "model.layers.10.self_attn.q_proj",
    "model.layers.2.mlp.down_proj", "model.layers.1.self_attn.q_proj_x", "model.layers.1.self_attn.q_proj\n",
    "model\nlayers", "q_proj", "MODEL.norm", "modelxnorm", "aa", "aaa", "aaaa", "a{,2}", "a\x0bb", "\u0663",
    "\u00e9t\u00e9", "",
    "a]", "[:alpha:]", "]", "a-b", "tab\tx",
]
TARGETS = [
    "lm_head", "Linear", "model.norm", "re:.*q_proj$", "re:.*q_proj", "re:q_proj", r"re:model\.layers\.(1|2)\..*",
    r"re:model\.layers\.(\d+)\.self_attn", "re:.*.attn.q_proj$", "re:.*.mlp.down_proj$", "re:model.norm",
    "re:model.norm$",
    r"re:(?P<x>a)(?P=x)$", r"re:(a)\1", r"re:(?!.*q_proj).*", r"re:.*(?<!self_attn\.)q_proj$", "re:(?=.*down).*proj$",
    r"re:.*q_proj\Z", r"re:.*q_proj\n?\Z", "re:^model$", "re:model$|lm_head", "re:lm_head|model$", "re:", "re:$",
    "re:a{,2}$",
    "re:a{2}$", "re:a{,}$", "re:a{2,3}$", "re:a{,x}", r"re:a\vb", r"re:a[\v]b", r"re:\d$", r"re:\w+$", r"re:[^\W\d]+$",
    "re:(?i)model", "re:(?i:model).norm", "re:(?s)model.layers", "re:model.layers", "re:(?#no)model", "re:(?:aa)+$",
    "re:[]a]+$", "re:[[:alpha:]]", "re:[[:alph]+", r"re:\x61\u0061$", r"re:[\]a]+$", r"re:a[\-x]b", "re:a*?$",
    "re:a*+$", "re:(?>a*)a",
    r"re:tab\tx", "re:(a)?(?(1)a|b)", r"re:\bmodel\b", r"re:[a-z_.\d]+\.q_proj$", "re:.*(q|k|v)_proj$",
    "re:.*[qkv]_proj$",
    # what Python refuses
    "re:(", "re:)", "re:[a", "re:*a", "re:a**", "re:(*FAIL)", "re:(?R)", "re:(?|a|b)", "re:(?<x>a)", "re:(?'x'a)",
    "re:(?P>x)",
    r"re:\Qa\E", r"re:\h", r"re:\R", r"re:\K", r"re:\G", r"re:\pL", r"re:\X", r"re:\C", r"re:[\Z]", r"re:\x6",
    r"re:\u006", "re:a(?i)b",
    "re:a{3,2}", "re:(?P<x>a)(?P<x>b)", r"re:\2", "re:(?<=a*)b", "re:[z-a]", "re:\\", "re:(?", "re:(?i", "re:(?#",
    "re:(?J)a", "re:(?^)a",
    r"re:\g{1}", r"re:\k<x>", r"re:\N", r"re:\o{61}", r"re:\cA", r"re:\e",
]


def row(target):
    try:
        matches = re.compile(target[3:]).match if target.startswith("re:") else target.__eq__
    except re.error as error:
        return [target, None, str(error)]
    return [target, "".join("1" if matches(name) else "0" for name in NAMES)]


warnings.simplefilter("ignore")
print('{"names": ' + json.dumps(NAMES) + ',\n"targets": [')
print(",\n".join(json.dumps(row(target)) for target in TARGETS) + "\n]}")
