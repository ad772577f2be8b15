# SPDX-License-Identifier: Apache-2.0
"""One build of llama.cpp, that of the Python that runs this: peer_llama.py MODEL TEXT TOKENS PREFILL

Says what it is, then answers each line, a number of threads, with seconds per token of prefill and decode, in JSON.
Teacher-forced on the text, through the C interface: no Python work inside the clock.
"""

import ctypes
import importlib.metadata
import json
import os
import pathlib
import sys
import time

import llama_cpp as lib

EMPTY = 64   # tokens that are decoded from an empty cache


class Llama:
    def __init__(self, path, context):
        self._quiet = lib.llama_log_callback(lambda *_: None)
        lib.llama_log_set(self._quiet, ctypes.c_void_p(0))
        lib.llama_backend_init()
        self._model = lib.llama_model_load_from_file(os.fsencode(path), lib.llama_model_default_params())
        if not self._model:
            sys.exit(f"llama.cpp cannot read {path}")
        p = lib.llama_context_default_params()
        p.n_ctx, p.n_batch, p.n_ubatch = context, 512, 512
        self._ctx = lib.llama_init_from_model(self._model, p)
        self._vocab = lib.llama_model_get_vocab(self._model)

    def threads(self, n):
        lib.llama_set_n_threads(self._ctx, n, n)

    def encode(self, text):
        data = text.encode()
        out = (lib.llama_token * (len(data) + 8))()
        n = lib.llama_tokenize(self._vocab, data, len(data), out, len(out), False, False)
        return list(out[:n])

    def clear(self):
        lib.llama_memory_clear(lib.llama_get_memory(self._ctx), True)

    def feed(self, ids, start, every):
        """Decodes ids at positions start...; logits of each, or of the last."""
        n = len(ids)
        b = lib.llama_batch_init(n, 0, 1)
        b.n_tokens = n
        for i, t in enumerate(ids):
            b.token[i], b.pos[i], b.n_seq_id[i] = t, start + i, 1
            b.seq_id[i][0], b.logits[i] = 0, int(every or i == n - 1)
        t0 = time.perf_counter()
        rc = lib.llama_decode(self._ctx, b)
        lib.llama_synchronize(self._ctx)
        row = lib.llama_get_logits_ith(self._ctx, -1)
        t1 = time.perf_counter()
        lib.llama_batch_free(b)
        if rc or not row:
            sys.exit(f"llama_decode: {rc}")
        return t1 - t0

    def measure(self, ids, prefill):
        """Seconds per token, by what is done."""
        self.clear()
        out = {"decode/empty": sum(self.feed([t], i, True) for i, t in enumerate(ids[:EMPTY])) / len(ids[:EMPTY])}
        self.clear()
        out["prefill/every"] = self.feed(ids[:prefill], 0, True) / prefill
        self.clear()
        out["prefill/last"] = self.feed(ids[:prefill], 0, False) / prefill
        rest = ids[prefill:]
        out["decode/after"] = sum(self.feed([t], prefill + i, True) for i, t in enumerate(rest)) / len(rest)
        return out


def main():
    path, text, tokens, prefill = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    llama = Llama(path, max(tokens, 1024))
    ids = llama.encode(pathlib.Path(text).read_text(encoding="utf-8"))
    if len(ids) < tokens:
        sys.exit(f"{text} has {len(ids)} tokens only")
    print(json.dumps({"version": f"llama-cpp-python {importlib.metadata.version('llama-cpp-python')}, "
                                 + lib.llama_print_system_info().decode().strip()}), flush=True)
    for line in sys.stdin:
        llama.threads(int(line))
        print(json.dumps(llama.measure(ids[:tokens], prefill)), flush=True)


main()
