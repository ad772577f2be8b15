# SPDX-License-Identifier: Apache-2.0
"""Golden values of rotary scaling; run by make_golden.py. Kept sets of eviction have a maker of their own,
make_kept.py, whose reference wants an older transformers."""
import importlib.metadata
import math

import numpy as np
from transformers import LlamaConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from golden_case import Golden

# d, base, rule, factor, trained length, few, many (0: the rule's default), amplitude (0: the default)
CASES = {
    "llama31": (128, 500000.0, "llama3", 8.0, 8192, 1.0, 4.0, 0),
    "llama32": (64, 500000.0, "llama3", 32.0, 8192, 1.0, 4.0, 0),
    "llama_other": (20, 10000.0, "llama3", 3.0, 512, 2.0, 5.0, 0),
    "yarn": (128, 10000.0, "yarn", 4.0, 4096, 1.0, 32.0, 0),
    "yarn_short": (16, 100000.0, "yarn", 16.0, 128, 1.0, 32.0, 0),
    "yarn_other": (36, 10000.0, "yarn", 2.5, 1024, 2.0, 16.0, 0.75),
    "plain": (10, 10000.0, "default", 1.0, 64, 1.0, 4.0, 0),
}


def numpy_frequencies(d, base, rule, factor, trained, few, many):
    theta = base ** (-np.arange(0, d, 2) / d)
    if rule == "llama3":
        turns = trained * theta / (2 * math.pi)
        kept = np.clip((turns - few) / (many - few), 0, 1)
    elif rule == "yarn":
        def pair(turns):
            return d * math.log(trained / (turns * 2 * math.pi)) / (2 * math.log(base))

        low, high = max(math.floor(pair(many)), 0), min(math.ceil(pair(few)), d - 1)
        kept = 1 - np.clip((np.arange(d // 2) - low) / max(high - low, 0.001), 0, 1)
    else:
        kept = np.ones(d // 2)
    return theta * (kept + (1 - kept) / factor)


def rope_scaling():
    g = Golden("rope_scaling", 141, "ROPE_INIT_FUNCTIONS", "transformers", importlib.metadata.version("transformers"))
    for name, (d, base, rule, factor, trained, few, many, amplitude) in CASES.items():
        scaling = {"rope_type": rule, "rope_theta": base, "factor": factor, "original_max_position_embeddings": trained}
        if rule == "llama3":
            scaling |= {"low_freq_factor": few, "high_freq_factor": many}
        if rule == "yarn":
            scaling |= {"beta_slow": few, "beta_fast": many} | ({"attention_factor": amplitude} if amplitude else {})
        config = LlamaConfig(hidden_size=2 * d, num_attention_heads=2, head_dim=d, rope_parameters=scaling,
                             max_position_embeddings=int(trained * factor))
        expected = numpy_frequencies(d, base, rule, factor, trained, few, many)
        if rule == "default":
            frequencies, scale = expected, 1.0
        else:
            frequencies, scale = ROPE_INIT_FUNCTIONS[rule](config, device="cpu")
            frequencies = frequencies.numpy()
            # float32 in the reference
            assert np.abs(frequencies / expected - 1).max() < 2e-6, (name, np.abs(frequencies / expected - 1).max())
        g.add(name, {"rule": rule}, base=np.array([base]), factor=np.array([factor]), trained=np.array([float(trained)]),
              few=np.array([few]), many=np.array([many]), amplitude=np.array([float(amplitude)]), frequencies=frequencies,
              scale=np.array([float(scale)]))
    return g


OPS = [rope_scaling]
