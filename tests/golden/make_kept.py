# SPDX-License-Identifier: Apache-2.0
"""Makes kept_sets.safetensors: which entries of a layer of SmolLM2-135M the eviction methods of kvpress keep.

    python make_kept.py --gguf SmolLM2-135M-Instruct.Q4_1.gguf [--check]

Queries, keys and values of one layer are taken before rotation from smollm2/model.py, brought to the half-split layout
and rounded to float16; on them kvpress works in float64. Environment: see README.md.
"""
import argparse
import hashlib
import importlib.metadata
import pathlib
import sys
import types

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "smollm2"))

import numpy as np
import torch
from kvpress import ExpectedAttentionPress, KeyDiffPress, KnormPress, LagKVPress, MergingPress, SnapKVPress
from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding, apply_rotary_pos_emb

from golden_case import Golden
from make_golden import same
from model import Model

LAYER, TOKENS, KEPT = 10, 96, 40
PRESSES = {
    "knorm": KnormPress(),
    "keydiff": KeyDiffPress(),
    "snapkv_8_5": SnapKVPress(window_size=8, kernel_size=5),
    "snapkv_16_7": SnapKVPress(window_size=16, kernel_size=7),
    "expected_attention_512": ExpectedAttentionPress(),
    "expected_attention_16": ExpectedAttentionPress(n_future_positions=16),
    "lagkv_8": LagKVPress(lag_size=8),
    "lagkv_16": LagKVPress(lag_size=16),
}


class Caught(Exception):
    pass


def layer_inputs(model, ids):
    """q [heads, T, d], k, v [kv_heads, T, d] of the layer, none of them turned, pairs as (i, i + d / 2)."""
    seen = {}
    block = model.blocks[LAYER]

    rms = model.rms

    def norm(x, w):
        if w is block["attn_norm"]:
            h = rms(x, w)
            heads = lambda name: (h @ block[name].T).view(len(ids), -1, model.head).transpose(0, 1)
            seen.update(q=heads("attn_q"), k=heads("attn_k"), v=heads("attn_v"))
            raise Caught
        return rms(x, w)

    model.rms = norm
    try:
        model.forward(ids)
    except Caught:
        pass
    halves = lambda x: torch.cat([x[..., 0::2], x[..., 1::2]], -1)
    return [x.to(torch.float16) for x in (halves(seen["q"]), halves(seen["k"]), seen["v"])]


def newest_wins(scores):
    """The best KEPT of each row, the newest of equal scores, and the margin between the last kept and the next."""
    position = np.arange(scores.shape[-1])
    kept, margins = [], []
    for row in scores:
        order = np.lexsort((-position, -row))
        kept.append(np.sort(order[:KEPT]))
        margins.append(row[order[KEPT - 1]] - row[order[KEPT]])
    return np.stack(kept).astype(np.int32), np.array(margins)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gguf", required=True)
    parser.add_argument("--gpl3", default="/usr/share/common-licenses/GPL-3")
    parser.add_argument("--check", action="store_true")
    chosen = parser.parse_args()
    torch.set_num_threads(1)

    model = Model(chosen.gguf)
    text = pathlib.Path(chosen.gpl3).read_text()
    q, k, v = layer_inputs(model, model.text.encode(text)[:TOKENS])
    heads, lists, d = model.heads, model.kv_heads, model.head

    config = LlamaConfig(hidden_size=heads * d, num_attention_heads=heads, num_key_value_heads=lists, head_dim=d,
                         rope_parameters={"rope_type": "default", "rope_theta": model.base})
    rotary = LlamaRotaryEmbedding(config).double()
    rotary.inv_freq = model.base ** (-torch.arange(0, d, 2, dtype=torch.float64) / d)

    def double_rotary(x, positions):  # the module computes its tables in float32
        angles = positions.double()[..., None] * rotary.inv_freq
        return torch.cat([angles, angles], -1).cos(), torch.cat([angles, angles], -1).sin()

    # All that a press asks of an attention layer; its hidden states are the queries.
    module = types.SimpleNamespace(config=config, head_dim=d, q_proj=torch.nn.Identity(), rotary_emb=double_rotary)
    hidden = q.double().transpose(0, 1).reshape(1, TOKENS, heads * d)
    cos, sin = double_rotary(None, torch.arange(TOKENS)[None])
    _, keys = apply_rotary_pos_emb(q.double()[None], k.double()[None], cos, sin)
    values = v.double()[None]

    g = Golden("kept_sets", 0, "score, compress of each press", "kvpress", importlib.metadata.version("kvpress"))
    g.metadata |= {"transformers": importlib.metadata.version("transformers"), "layer": str(LAYER),
                   "gguf_sha256": hashlib.sha256(pathlib.Path(chosen.gguf).read_bytes()).hexdigest(),
                   "text": "the first tokens of the GPL-3 as in smollm2/README.md"}
    g.add("layer", q=q.transpose(0, 1), k=k.transpose(0, 1), v=v.transpose(0, 1), base=np.array([model.base]))

    # compute_n_kept truncates: a ratio that gives KEPT exactly
    ratio = 1 - (KEPT + 0.5) / TOKENS
    arguments = (module, hidden, keys, values, None, {"position_embeddings": (cos, sin)})
    for name, press in PRESSES.items():
        scores = press.score(*arguments)[0].double().numpy()
        kept, margins = newest_wins(scores)
        spread = scores.max() - scores.min()
        press.compression_ratio = ratio
        theirs, their_values = press.compress(*arguments)
        tied = margins == 0
        for j in range(lists):  # where nothing ties, the kept set is that of compress
            if not tied[j]:
                where = [(keys[0, j] == row).all(-1).nonzero()[0, 0].item() for row in theirs[0, j]]
                assert sorted(where) == kept[j].tolist(), (name, j)
        print(f"{name}: smallest margin {margins[~tied].min() / spread if (~tied).any() else 0:.2e} of the spread, "
              f"{tied.sum()} lists with a tie")
        g.add(name, {"tied": int(tied.any())}, kept=kept, scores=scores)
    press = MergingPress(press=KnormPress(compression_ratio=ratio))
    theirs, merged = press.compress(*arguments)
    order = [[(keys[0, j] == row).all(-1).nonzero()[0, 0].item() for row in theirs[0, j]] for j in range(lists)]
    in_order = np.stack([merged[0, j].numpy()[np.argsort(order[j])] for j in range(lists)])
    g.add("merging_knorm", kept=np.sort(np.array(order), -1).astype(np.int32), values=in_order)

    path, data = HERE / "kept_sets.safetensors", g.encode()
    if chosen.check:
        sys.exit(not same(path, data))
    path.write_bytes(data)
    print(len(data), "bytes")


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    main()
