// SPDX-License-Identifier: Apache-2.0
// Pointers (and bool) in a state would make files and comparisons meaningless.
// expect: states hold
#include <mneme/core/leaf.hpp>

#if defined(MNEME_CONTROL)
using element = float;
#else
using element = float*;
#endif
mneme::leaf look(mneme::buffer<element>& b) { return mneme::as_leaf(b); }
