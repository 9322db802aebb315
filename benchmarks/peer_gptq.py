#!/usr/bin/env python3
"""Seconds that llm-compressor's GPTQ takes for one weight, int4 in groups of 128, without its factorization.

peer_gptq.py ROWS COLS [--factorize]    (in the environment of requirements-peer.txt; with its factorization alone)
"""

import sys
import time

import torch
from compressed_tensors.quantization import QuantizationArgs
from llmcompressor.modifiers.gptq import gptq_quantize

GROUP = 128


def factor(n):
    """Of no Hessian in particular; errors that reach a column are as large as its own."""
    return (torch.randn(n, n) / n**0.5).triu_(1) + torch.eye(n)


def column_loop(rows, cols):
    args = QuantizationArgs(num_bits=4, type="int", symmetric=True, strategy="group", group_size=GROUP,
                            actorder="static")
    weight = torch.randn(1, rows, cols)
    scale = weight.view(1, rows, -1, GROUP).abs().amax(-1) / 7.5
    zero = torch.zeros_like(scale, dtype=torch.int8)
    hessian = torch.eye(cols) * torch.rand(cols)
    given = factor(cols)[None]
    gptq_quantize.factorize_hessian = lambda *_: given
    started = time.perf_counter()
    gptq_quantize.quantize_weight(weight, hessian[None], scale, zero, None, args)
    return time.perf_counter() - started


def factorization(cols):
    rows = factor(cols)
    hessian = (rows @ rows.T)[None]
    started = time.perf_counter()
    gptq_quantize.factorize_hessian(torch.zeros(1, 1, cols), hessian, 0.01, torch.zeros(1, dtype=torch.bool))
    return time.perf_counter() - started


if __name__ == "__main__":
    rows, cols = map(int, sys.argv[1:3])
    print(factorization(cols) if "--factorize" in sys.argv else column_loop(rows, cols))
