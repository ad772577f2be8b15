# SPDX-License-Identifier: Apache-2.0
"""SmolLM2-135M-Instruct from its GGUF, plain torch, float64, one CPU thread.

Written to be read: no fused ops, no half precision, no BOS. Two ways through
the network, which must agree where both apply:

* Model.forward(ids)   all positions at once, full cache (or a masked one);
* Model.step(...)      one token of several streams in lockstep, each stream
                       with its own per-layer KV cache and eviction policy.

The order of one step is: append the new key and value, attend over all live
entries including the new one, then evict one entry if more than C are live.
So a cache of capacity C attends over up to C + 1 entries. Among equal scores
the oldest entry leaves.
"""

import math

import gguf
import numpy as np
import torch
from tokenizers import AddedToken, Regex, Tokenizer, models, pre_tokenizers

F64 = torch.float64


# -- the file ---------------------------------------------------------------

class File:
    """Metadata and dequantised tensors of a GGUF."""

    def __init__(self, path):
        self._reader = gguf.GGUFReader(path)
        self._tensors = {t.name: t for t in self._reader.tensors}

    def __getitem__(self, key):
        return self._reader.get_field(key).contents()

    def tensor(self, name):
        t = self._tensors[name]
        return torch.from_numpy(
            np.array(gguf.dequantize(t.data, t.tensor_type), dtype=np.float64))


# -- text -------------------------------------------------------------------

class Text:
    """The two-pass `smollm` byte-level BPE: digits cut off, then GPT-2."""

    def __init__(self, file):
        tokens = file["tokenizer.ggml.tokens"]
        kinds = file["tokenizer.ggml.token_type"]
        merges = [tuple(m.split(" ")) for m in file["tokenizer.ggml.merges"]]
        vocab = {t: i for i, t in enumerate(tokens)}
        self.specials = [t for t, k in zip(tokens, kinds) if k == 3]

        # 21 bytes have no token and are dropped; like llama.cpp, no merge may
        # reach across one (the tokenizers package alone would merge there)
        missing = "".join(rf"\x{{{ord(c):x}}}" for c in BYTE_OF
                          if c not in vocab)

        def build():
            tok = Tokenizer(models.BPE(vocab, merges))
            tok.pre_tokenizer = pre_tokenizers.Sequence([
                pre_tokenizers.Split(Regex(r"\p{N}"), "isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False,
                                         use_regex=True),
                pre_tokenizers.Split(Regex(f"[{missing}]"), "isolated")])
            return tok

        self._plain = build()
        self._special = build()
        self._special.add_special_tokens(
            [AddedToken(t, normalized=False, special=True)
             for t in self.specials])
        for t in self.specials:
            assert self._special.token_to_id(t) == vocab[t]
        self._tokens = tokens

    def encode(self, text, parse_special=False):
        tok = self._special if parse_special else self._plain
        return tok.encode(text, add_special_tokens=False).ids

    def decode(self, ids):
        """Bytes of the ids, invalid UTF-8 replaced."""
        out = bytearray()
        for i in ids:
            t = self._tokens[i]
            if t in self.specials:
                out += t.encode()
            else:
                out += bytes(BYTE_OF[c] for c in t)
        return out.decode("utf-8", errors="replace")


def _byte_of():
    keep = [*range(0x21, 0x7f), *range(0xa1, 0xad), *range(0xae, 0x100)]
    rest = [b for b in range(256) if b not in keep]
    return ({chr(b): b for b in keep}
            | {chr(256 + i): b for i, b in enumerate(rest)})


BYTE_OF = _byte_of()

DEFAULT_SYSTEM = ("You are a helpful AI assistant named SmolLM, "
                  "trained by Hugging Face")


def chat(user, system=DEFAULT_SYSTEM):
    """One user message under the model's chat template, answer to come."""
    return (f"<|im_start|>system\n{system}<|im_end|>\n"
            f"<|im_start|>user\n{user}<|im_end|>\n"
            f"<|im_start|>assistant\n")


# -- the store --------------------------------------------------------------

def q8_0(x):
    """What a q8_0 store gives back for x [..., d], in blocks of 32 channels.

    d = amax / 127 in float32; q = round half away from zero of x / d; the
    entry is attended as q * fp16(d).
    """
    b = x.reshape(*x.shape[:-1], -1, 32)
    d = (b.abs().amax(-1, keepdim=True) / 127.0).to(torch.float32)
    r = torch.where(d > 0, b / d.to(F64), torch.zeros_like(b))
    q = torch.sign(r) * torch.floor(r.abs() + 0.5)
    return (q * d.to(torch.float16).to(F64)).reshape(x.shape)


STORES = {"f64": lambda x: x, "q8_0": q8_0}


class Cache:
    """The KV cache of one layer of one stream; entries by ascending age.

    keys, values [heads, n, d]; pos [heads, n] (h2o keeps other positions for
    each key/value head); score [heads, n] (h2o only).
    """

    def __init__(self, policy="full", capacity=0, store="f64"):
        assert policy in ("full", "window", "sinks", "h2o", "tova")
        self.policy, self.capacity = policy, capacity
        self.store = STORES[store]
        self.keys = self.values = self.pos = self.score = None
        self.margin = math.inf   # smallest gap between victim and runner-up

    def attend(self, q, k, v, pos):
        """q [heads, group, d], k and v [heads, d] -> [heads, group, d]."""
        heads, d = k.shape
        k, v = self.store(k)[:, None], self.store(v)[:, None]
        p = torch.full((heads, 1), pos)
        if self.keys is None:
            self.keys, self.values, self.pos = k, v, p
            self.score = torch.zeros(heads, 1, dtype=F64)
        else:
            self.keys = torch.cat([self.keys, k], 1)
            self.values = torch.cat([self.values, v], 1)
            self.pos = torch.cat([self.pos, p], 1)
            self.score = torch.cat(
                [self.score, torch.zeros(heads, 1, dtype=F64)], 1)
        prob = torch.softmax(
            q @ self.keys.transpose(1, 2) / math.sqrt(d), -1)
        y = prob @ self.values
        self.score += prob.mean(1)
        if self.policy != "full" and self.keys.shape[1] > self.capacity:
            self._evict(self._victims(prob))
        return y

    def _victims(self, prob):
        """Index of the entry to leave, for each head."""
        heads, n, c = prob.shape[0], prob.shape[2], self.capacity
        if self.policy == "window":
            return [0] * heads
        if self.policy == "sinks":
            return [min(4, c - 1)] * heads
        if self.policy == "h2o":
            candidates = n - c // 2   # the newest floor(C/2) are protected
            return [self._least(self.score[h, :candidates])
                    for h in range(heads)]
        return [self._least(prob.mean((0, 1)))] * heads   # tova

    def _least(self, score):
        s = score.numpy()
        two = np.partition(s, 1)[:2]
        self.margin = min(self.margin, float(two[1] - two[0]))
        return int(np.argmin(s))   # the first, hence oldest, of equals

    def _evict(self, victims):
        heads, n, d = self.keys.shape
        keep = torch.ones(heads, n, dtype=torch.bool)
        keep[torch.arange(heads), torch.tensor(victims)] = False
        self.keys = self.keys[keep].view(heads, n - 1, d)
        self.values = self.values[keep].view(heads, n - 1, d)
        self.pos = self.pos[keep].view(heads, n - 1)
        self.score = self.score[keep].view(heads, n - 1)


# -- the network ------------------------------------------------------------

class Model:
    def __init__(self, path):
        f = self.file = File(path)
        self.layers = f["llama.block_count"]
        self.heads = f["llama.attention.head_count"]
        self.kv_heads = f["llama.attention.head_count_kv"]
        self.width = f["llama.embedding_length"]
        self.head = self.width // self.heads
        self.eps = float(f["llama.attention.layer_norm_rms_epsilon"])
        self.base = float(f["llama.rope.freq_base"])
        self.embed = f.tensor("token_embd.weight")
        self.norm = f.tensor("output_norm.weight")
        names = ("attn_norm attn_q attn_k attn_v attn_output "
                 "ffn_norm ffn_gate ffn_up ffn_down").split()
        self.blocks = [{n: f.tensor(f"blk.{i}.{n}.weight") for n in names}
                       for i in range(self.layers)]
        self.text = Text(f)

    def rms(self, x, w):
        return x / torch.sqrt((x * x).mean(-1, keepdim=True) + self.eps) * w

    def rope(self, x, pos):
        """x [..., T, d] at positions pos [T]: turns the pairs (2i, 2i+1)."""
        i = torch.arange(self.head // 2, dtype=F64)
        angle = pos.to(F64)[:, None] * self.base ** (-2 * i / self.head)
        c, s = torch.cos(angle), torch.sin(angle)
        a, b = x[..., 0::2], x[..., 1::2]
        return torch.stack([a * c - b * s, a * s + b * c], -1).reshape(x.shape)

    def ffn(self, b, x):
        h = self.rms(x, b["ffn_norm"])
        gate = h @ b["ffn_gate"].T
        return (gate * torch.sigmoid(gate) * (h @ b["ffn_up"].T)) \
            @ b["ffn_down"].T

    def logits(self, x):
        return self.rms(x, self.norm) @ self.embed.T

    @torch.no_grad()
    def forward(self, ids, live=None, store="f64"):
        """Hidden states [T, width] after the last block.

        live(i, j) -> bool says whether position i attends to j <= i (tensors
        of indices); None: all of them.
        """
        ids = torch.as_tensor(ids)
        t = len(ids)
        pos = torch.arange(t)
        x = self.embed[ids]
        for b in self.blocks:
            h = self.rms(x, b["attn_norm"])

            def split(w, n):
                return (h @ b[w].T).view(t, n, self.head).transpose(0, 1)

            group = self.heads // self.kv_heads
            q = self.rope(split("attn_q", self.heads), pos)
            k = STORES[store](self.rope(split("attn_k", self.kv_heads), pos))
            v = STORES[store](split("attn_v", self.kv_heads))
            k = k.repeat_interleave(group, 0)   # query head h reads h / group
            v = v.repeat_interleave(group, 0)
            y = torch.empty_like(q)
            for at in range(0, t, 512):   # rows in pieces, for memory only
                i = pos[at:at + 512, None]
                j = pos[None, :at + len(i)]
                mask = j <= i
                if live is not None:
                    mask = mask & live(i, j)
                s = q[:, at:at + 512] @ k[:, :j.shape[1]].transpose(1, 2)
                s = (s / math.sqrt(self.head)).masked_fill(~mask, -math.inf)
                y[:, at:at + 512] = torch.softmax(s, -1) @ v[:, :j.shape[1]]
            x = x + y.transpose(0, 1).reshape(t, -1) @ b["attn_output"].T
            x = x + self.ffn(b, x)
        return x

    @torch.no_grad()
    def nll(self, ids, live=None, store="f64"):
        """Mean over the predictions of tokens 2..N, nats per token."""
        x = self.forward(ids, live, store)[:-1]
        target = torch.as_tensor(ids)[1:]
        total = 0.0
        for at in range(0, len(x), 256):
            lp = torch.log_softmax(self.logits(x[at:at + 256]), -1)
            total -= lp.gather(1, target[at:at + 256, None]).sum().item()
        return total / len(target)

    @torch.no_grad()
    def step(self, ids, pos, streams):
        """One token of each stream, all at position pos -> logits [B, V].

        streams: for each stream its list of Cache, one per layer.
        """
        n, group = len(ids), self.heads // self.kv_heads
        at = torch.tensor([pos])
        x = self.embed[torch.as_tensor(ids)]
        for layer, b in enumerate(self.blocks):
            h = self.rms(x, b["attn_norm"])
            q = self.rope((h @ b["attn_q"].T).view(n, -1, 1, self.head), at)
            k = self.rope((h @ b["attn_k"].T).view(n, -1, 1, self.head), at)
            v = (h @ b["attn_v"].T).view(n, -1, self.head)
            q = q.view(n, self.kv_heads, group, self.head)
            y = torch.stack([
                streams[r][layer].attend(q[r], k[r, :, 0], v[r], pos)
                for r in range(n)])
            x = x + y.reshape(n, -1) @ b["attn_output"].T
            x = x + self.ffn(b, x)
        return self.logits(x)

    @torch.no_grad()
    def nll_streams(self, ids, streams, progress=None):
        """Means as nll(), each stream scored token by token on the same ids.

        The prediction of the first token does not exist and the last token's
        prediction is not scored, but the last token is fed all the same.
        """
        total = torch.zeros(len(streams), dtype=F64)
        for pos, token in enumerate(ids):
            lp = torch.log_softmax(
                self.step([token] * len(streams), pos, streams), -1)
            if pos + 1 < len(ids):
                total -= lp[:, ids[pos + 1]]
            if progress and pos % 64 == 0:
                progress(pos)
        return (total / (len(ids) - 1)).tolist()

    def streams(self, specs):
        """specs: (policy, capacity, store) -> fresh caches for each."""
        return [[Cache(*s) for _ in range(self.layers)] for s in specs]
