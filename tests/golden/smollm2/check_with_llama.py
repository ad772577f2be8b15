# SPDX-License-Identifier: Apache-2.0
"""Compares expected.json with llama.cpp (llama-cpp-python): token ids, nll.

Needs no torch; exits 1 when any token id differs. llama.cpp rounds
activations to 8 bits and keeps an f16 cache, so its nll is close, not equal.
"""

import argparse
import json
import pathlib
import sys

import llama_cpp
import numpy as np

HERE = pathlib.Path(__file__).resolve().parent


def nll(llm, ids):
    llm.reset()
    llm.eval(ids)
    x = llm.scores[:len(ids) - 1].astype(np.float64)
    x -= x.max(1, keepdims=True)
    lse = np.log(np.exp(x).sum(1))
    return float((lse - x[np.arange(len(x)), ids[1:]]).mean())


def main():
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("--gguf", required=True)
    ap.add_argument("--expected", default=HERE / "expected.json")
    args = ap.parse_args()
    want = json.loads(pathlib.Path(args.expected).read_text())
    llm = llama_cpp.Llama(args.gguf, n_ctx=2048, logits_all=True,
                          n_threads=1, n_threads_batch=1, verbose=False)
    bad = 0
    for case in want["tokenizer"]:
        for key, special in (("ids_parse_special", True), ("ids_plain", False)):
            got = llm.tokenize(case["text"].encode(), add_bos=False,
                               special=special)
            if got != case[key]:
                bad += 1
                print(f"{key} {case['text']!r}\n  expected  {case[key]}"
                      f"\n  llama.cpp {got}")
    print(len(want["tokenizer"]), "strings,", bad, "differences")
    for run in want.get("full", []):
        got = nll(llm, want["texts"][run["text"]]["first_ids"][:run["tokens"]])
        print(f"{run['text']} {run['tokens']}: {run['nll']:.6f}, llama.cpp "
              f"{got:.6f} ({got - run['nll']:+.4f})")
    sys.exit(bad > 0)


if __name__ == "__main__":
    main()
