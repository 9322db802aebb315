"""Writes spinor/linalg/hadamard_bases.inc and tests/golden/hadamard_digests.txt.

Needs numpy, torch and compressed-tensors 0.20.0 (its wheel holds the 66 base matrices). Run from the repository root:
    python tests/golden/make_hadamard.py
Before anything is written, every matrix is checked against the SHA-256 prefixes below, so another version of the wheel
cannot slip in. The digests in the text file are 64-bit FNV-1a over the int8 entries, row-major: ten lines in the C++
test instead of a cryptographic library.
"""

import hashlib
import pathlib

import compressed_tensors
import numpy as np
import torch
from compressed_tensors.transform.utils.hadamard import random_hadamard_matrix
from safetensors.numpy import load_file

BASES = """
1:4bf5122f3445 2:ae0c359ec397 4:14edb060b895 8:7c99a8eda1a4 12:67507aecbe2a 16:4173cdf0377b 20:b134723561fd
24:21a89d3de873 28:a6cb994c78f9 32:dd1d9dce47e6 36:d674d8240e6b 40:b36c95bcae91 44:401df984756a 48:ceac1b6c6866
52:9ee082772819 56:91b67bf29afa 60:091e76fba0ae 64:4be469934f00 68:17f1a2273987 72:bf122830f5b8 76:60321a298d25
80:b6174b0a8468 84:151d1690fb00 88:76bc2b913460 92:970206e0ef7c 96:8a1c404581e4 100:ab05922ba235 104:68418e79661f
108:690a34c6c9ed 112:ae8541e95835 116:e35aecfbc1d9 120:1f1057916e8d 124:3a737ee7def7 128:6c75072bc838 132:f8b62d1c7708
136:26d7cd82313c 140:b9ff01506ffe 144:951ff3d10c7f 148:7f4a5762e56c 152:bdd9f3ce7c60 156:99a1b852ce55 160:fe4a4e7012bc
164:9c4f1781e9af 168:0075ab35c943 172:378ef12c7cc3 176:cf69015e08f4 180:a5edeb82b8e0 184:80887dcde116 188:5fe236452dbe
192:93c7883aa0ec 196:41320beea544 200:6e9c325c8e91 204:aef86d0b3844 208:a749d4bce53a 212:d67a9fdcc220 216:c59dd8048d2f
220:ed2f2e625731 224:d8937d17f19c 228:58273d24c808 232:695ca5c4fd4b 236:a455e7ed8532 240:f46ebc5c0655 244:d42722a396ea
248:a61b27349a8c 252:2e9624ad037a 256:48e8331c8282
"""
RANDOM_HADAMARD = """
64:70d5efbe49b8fb3c 96:07344d8898c826d2 576:707c90e9f43dc119 768:b8c4e54e78a57c1a 1536:c9ed06508397e3e5
2048:e366f48f502deb9a
"""
PEER_SEED = 67280421310721


def expected(text):
    return {int(order): digest for order, digest in (entry.split(":") for entry in text.split())}


def checked(matrix, prefix):
    data = matrix.astype(np.int8).tobytes()
    assert hashlib.sha256(data).hexdigest().startswith(prefix), f"order {len(matrix)} is not the expected matrix"
    return data


def fnv1a(data):
    digest = 0xCBF29CE484222325
    for byte in data:
        digest = (digest ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return f"{digest:016x}"


def developed(row, rows, back):
    """The block whose rows are `row` rotated right (left when back) by 0, 1, 2 ..."""
    step = -1 if back else 1
    return np.stack([np.roll(row, step * i) for i in range(rows)])


def expand(seeds, border, back):
    """The matrix of cyclic blocks that has `seeds` as the first rows of its block rows; see hadamard_bases.inc."""
    order, groups = len(seeds[0]), len(seeds)
    large = (order - border * groups // 2) // (groups // (1 + border))
    sizes = [1, large] * (groups // 2) if border else [large] * groups
    edges = np.cumsum([0] + sizes)
    pieces = [[developed(seed[edges[j]:edges[j + 1]], sizes[i], back == "all" or (back == "off-diagonal" and i != j))
               for j in range(groups)] for i, seed in enumerate(seeds)]
    return np.block(pieces)


def compact(matrix):
    """(border, back, first rows) with the fewest rows that give back the matrix."""
    order = len(matrix)
    for groups in (1, 2, 4, 8, order):
        for border in (0, 1):
            if order % groups or (border and groups % 2) or (border and order % (groups // 2)):
                continue
            large = order // groups if not border else order // (groups // 2) - 1
            starts = np.cumsum([0] + ([1, large] * (groups // 2) if border else [large] * groups))[:-1]
            for back in ("none", "all", "off-diagonal"):
                if np.array_equal(expand([matrix[i] for i in starts], border, back), matrix):
                    return border, back, [matrix[i] for i in starts]
    raise AssertionError(order)


def sylvester_factor(bases, order):
    """The largest s with H = S_s (x) C, C the table's own matrix of order/s or, failing that, any matrix."""
    matrix, found = bases[order], 1
    s2, s = np.array([[1, 1], [1, -1]]), np.array([[1]])
    while order % (2 * len(s)) == 0:
        s = np.kron(s2, s)
        core = matrix[: order // len(s), : order // len(s)]
        if not np.array_equal(np.kron(s, core), matrix):
            break
        found = len(s)
    own = [f for f in (2**i for i in range(1, 9)) if f <= found and order // f in bases
           and np.array_equal(np.kron(sylvester(f), bases[order // f]), matrix)]
    return (max(own), None) if own else (found, matrix[: order // found, : order // found])


def sylvester(order):
    return np.array([[1 - 2 * (bin(i & j).count("1") & 1) for j in range(order)] for i in range(order)])


def hexadecimal(row):
    bits = "".join("1" if sign > 0 else "0" for sign in row)
    bits += "0" * (-len(bits) % 4)
    return f"{int(bits, 2):0{len(bits) // 4}x}"


def table_row(bases, order):
    factor, core = sylvester_factor(bases, order) if order > 1 else (1, bases[1])
    if core is None:
        return f"{{{order}, {factor}, 0, Back::none, {{}}}},"
    border, back, seeds = compact(core)
    back = {"none": "none", "all": "all", "off-diagonal": "off_diagonal"}[back]
    words = [f'"{hexadecimal(seed)}"' for seed in seeds]
    return f"{{{order}, {factor}, {border}, Back::{back}, {{{', '.join(words)}}}}},"


HEADER = """\
// A table, made by tests/golden/make_hadamard.py: the 66 base matrices of compressed-tensors (N. J. A. Sloane's
// library). {order, s, border, back, rows}: H = S_s (x) C, S_s Sylvester's. C is cut into square blocks of equal size
// (border = 1: each preceded by a row and a column of its own, so block sizes alternate 1, m, 1, m ...); `rows` are the
// first rows of the block rows, hexadecimal, most significant bit first, 1 for +1. Inside a block each row is the one
// above rotated right by one, or left where `back` says so. Without rows, C is this table's matrix of order / s.
"""


def main():
    assert compressed_tensors.__version__ == "0.20.0"
    folder = pathlib.Path(compressed_tensors.__file__).parent / "transform" / "utils"
    bases = {int(key): value.astype(int) for key, value in load_file(folder / "hadamards.safetensors").items()}
    prefixes = expected(BASES)
    assert sorted(bases) == sorted(prefixes)
    digests = [f"base {order} {fnv1a(checked(bases[order], prefixes[order]))}" for order in sorted(bases)]
    for order, prefix in expected(RANDOM_HADAMARD).items():
        generator = torch.Generator().manual_seed(PEER_SEED)
        matrix = random_hadamard_matrix(order, torch.float32, gen=generator).numpy()
        digests.append(f"random-hadamard {order} {fnv1a(checked(matrix, prefix))}")
    table = HEADER + "// clang-format off\n" + "\n".join(table_row(bases, order) for order in sorted(bases)) + "\n"
    pathlib.Path("spinor/linalg/hadamard_bases.inc").write_text(table + "// clang-format on\n")
    pathlib.Path("tests/golden/hadamard_digests.txt").write_text("\n".join(digests) + "\n")


if __name__ == "__main__":
    main()
