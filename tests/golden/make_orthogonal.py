"""Writes orthogonal.json: random_orthogonal(20) of seed 0 and 3 of seed 2^32 + 7, bit for bit, by the textbook loops.

Python's floats are IEEE doubles without fused multiply-add. Run: python3 make_orthogonal.py > orthogonal.json (Python
3.11).
"""

import json
import math
import struct


class Mt19937:
    def __init__(self, seed):
        self.words = [seed & 0xFFFFFFFF]
        for i in range(1, 624):
            self.words.append((1812433253 * (self.words[-1] ^ (self.words[-1] >> 30)) + i) & 0xFFFFFFFF)
        self.used = 624

    def output(self):
        words = self.words
        if self.used == 624:
            for i in range(624):
                y = (words[i] & 0x80000000) | (words[(i + 1) % 624] & 0x7FFFFFFF)
                words[i] = words[(i + 397) % 624] ^ (y >> 1) ^ (0x9908B0DF if y & 1 else 0)
            self.used = 0
        y = words[self.used]
        self.used += 1
        y ^= y >> 11
        y ^= (y << 7) & 0x9D2C5680
        y ^= (y << 15) & 0xEFC60000
        return y ^ (y >> 18)

    def uniform(self):
        high, low = self.output(), self.output()
        return ((high << 32 | low) % 2**53) * 2.0**-53

    def normal(self):
        while True:
            u = 2 * self.uniform() - 1
            v = 2 * self.uniform() - 1
            s = u * u + v * v
            if 0 < s < 1:
                return u * math.sqrt(-2 * logarithm(s) / s)


def logarithm(x):
    m, exponent = math.frexp(x)  # 1/2 <= m < 1
    m, exponent = m * 2, exponent - 1
    if m > float.fromhex("0x1.6a09e667f3bcdp0"):
        m, exponent = m * 0.5, exponent + 1
    f = (m - 1) / (m + 1)
    square, series = f * f, 0.0
    for power in range(21, 2, -2):
        series = (series + 1.0 / power) * square
    return exponent * float.fromhex("0x1.62e42fefa39efp-1") + 2 * (f + f * series)


def dot(a, b):
    sums = [0.0] * 8
    for i, (x, y) in enumerate(zip(a, b)):
        sums[i % 8] += x * y
    return ((sums[0] + sums[4]) + (sums[2] + sums[6])) + ((sums[1] + sums[5]) + (sums[3] + sums[7]))


def random_orthogonal(n, seed):
    random = Mt19937(seed)
    q = [[0.0] * n for _ in range(n)]
    q[n - 1][n - 1] = math.copysign(1.0, random.normal())
    for k in range(n - 2, -1, -1):
        v = [0.0] * k + [random.normal() for _ in range(k, n)]
        norm = math.sqrt(dot(v, v))
        q[k][k] = -math.copysign(1.0, v[k])
        v[k] += math.copysign(norm, v[k])
        scale = 2 / dot(v, v)
        for row in q[k:]:
            factor = scale * dot(row, v)
            row[:] = [x - factor * y for x, y in zip(row, v)]
    return ["".join(struct.pack(">d", x).hex() for x in row) for row in q]


print(json.dumps([{"n": 20, "seed": 0, "rows": random_orthogonal(20, 0)},
                  {"n": 3, "seed": 2**32 + 7, "rows": random_orthogonal(3, 2**32 + 7)}], indent=1))
