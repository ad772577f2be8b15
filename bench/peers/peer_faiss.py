# SPDX-License-Identifier: Apache-2.0
"""FAISS: MultiIndexQuantizer finds the best pairs of two sets of sub-keys, exactly, by distance."""

import itertools

import faiss
import numpy as np

VERSION = f"faiss-cpu {faiss.__version__} ({faiss.get_compile_options().strip()})"


def use_threads(n):
    faiss.omp_set_num_threads(n)


def contenders(p):
    if type(p).__name__ != "ProductKey":
        return {}
    searches = []
    for _ in range(p.states):
        index = faiss.MultiIndexQuantizer(2 * p.d, 2, p.sub_keys.bit_length() - 1)
        faiss.copy_array_to_vector(p.keys.ravel(), index.pq.centroids)
        index.is_trained, index.ntotal = True, p.sub_keys**2
        searches.append(index)
    q, next_ = p.q.reshape(len(p.q), -1), itertools.count()
    batches = len(q) // p.tokens
    # Distances become scores where all keys are of one length.
    p.expected = distances(p)

    def run(i):
        at = next(next_) % batches * p.tokens
        return searches[i].search(q[at:at + p.tokens], p.top)[0]
    return {"faiss": run}


def distances(p):
    """The same by definition: the smallest sums of squared distances."""
    off = p.q[:len(p.expected), :, None].astype(float) - p.keys[None].astype(float)
    d = (off**2).sum(-1)
    return np.sort((d[:, 0, :, None] + d[:, 1, None, :]).reshape(len(d), -1), axis=-1)[:, :p.top]
