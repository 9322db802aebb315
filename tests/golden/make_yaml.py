"""Writes yaml.json: [scalar as written, value] as PyYAML's safe_load resolves it. Run: python3 make_yaml.py >
yaml.json."""

import json

import yaml  # PyYAML 6.0

SCALARS = """
~ null Null NULL nULL none None true True TRUE false False FALSE tRUE yes Yes YES no No NO on On ON off Off OFF y n
Y N yEs
0 1 -1 +1 123 007 010 08 09 -010 0x1F 0X1F 0b101 -0b1 0o17 1_000 1__0 _1 0_7 18446744073709551615 -9223372036854775808
1.5 -1.5 +1.5 1. .5 -.5 1.5e+3 1.5e-3 1.e+2 1_0.5 . .. ... -. +. 1.2.3 1-2 1e e5 1.5e 1.0e+10 1.5E-3 0.0 -0.0 0.1
'1' "1" '' "true" 'null' "a\\tb" 'it''s' !!str&1 !!str&true
a R1 W4A16 random-hadamard re:.*q_proj$ model.layers.0 torch.float64 a#b a:b http://x :a -a +a *.5 0.5.0 00x1 0xg 0b2
inf nan NaN -inf 1,000 12a 1_ 0x 1:60x ~x null_ truex = 1.0.0
"""


def rows():
    for scalar in SCALARS.replace("*.5", "").split():
        scalar = scalar.replace("&", " ")
        try:
            yield json.dumps([scalar, yaml.safe_load("key: " + scalar)["key"]], allow_nan=False)
        except yaml.YAMLError:
            pass  # what PyYAML refuses is no golden


print("[\n" + ",\n".join(rows()) + "\n]")
