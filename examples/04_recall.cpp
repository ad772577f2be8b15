// SPDX-License-Identifier: Apache-2.0
// Recall of key/value pairs after a distance: what a bounded memory costs and keeps. Needs no download.
//
// A stream of random pairs (key, value) goes into three memories whose weights are set by hand. After every
// pair each memory is asked, on a fork of its state, for the value that came `distance` pairs earlier.
//   full cache       softmax attention over everything: the ceiling, its state grows
//   window cache     the same over the newest 64 pairs: all or nothing
//   selective SSM    B = C = key, u = value, slow decay: fades, in a state of fixed size
#include <mneme/mneme.hpp>

#include <cmath>
#include <cstdio>
#include <cstring>
#include <vector>

namespace {
using namespace mneme;

constexpr index_t width = 32;               // of keys and of values, elements -1 or 1
constexpr index_t d_model = 2 * width + 1;  // a token is value, key, 1; a question has no value
constexpr index_t pairs = 600, window = 64;
constexpr index_t distances[] = {1, 4, 16, 32, 63, 128, 256};

// A weight of the given shape with ones (or c) at (row, column) pairs.
class matrix {
 public:
  explicit matrix(std::initializer_list<index_t> shape) : w_(constant_weight(shape, 0)) {}
  matrix& diagonal(index_t row, index_t column, index_t n, float c = 1) {
    for (index_t i = 0; i < n; ++i) edit<float>(w_)[(row + i) * w_.cols() + column + i] = c;
    return *this;
  }
  matrix& column(index_t column, index_t row, index_t n, float c) {
    for (index_t i = 0; i < n; ++i) edit<float>(w_)[(row + i) * w_.cols() + column] = c;
    return *this;
  }
  operator weight() const { return w_; }

 private:
  weight w_;
};

template <class Policy>
any_memory<float> cache() {
  const kv_attention_config c{
      .d_model = d_model, .heads = 1, .head_dim = width, .capacity = window, .rope_base = 0};
  const weight key = matrix({width, d_model}).diagonal(0, width, width);
  const weight query =
      matrix({width, d_model}).diagonal(0, width, width, 4);  // sharp enough to pick one entry
  const weight value = matrix({width, d_model}).diagonal(0, 0, width);
  return kv_attention<float, Policy>(c, {query, key, value, matrix({d_model, width}).diagonal(0, 0, width)});
}

// silu(x) - silu(-x) = x: two channels of opposite sign carry a number through the mixer's activation
// unchanged.
any_memory<float> selective_memory() {
  constexpr index_t E = 2 * d_model, N = width;
  const float open_gate = 1.2784645f, unit_step = 0.5413249f;  // silu^-1(1), softplus^-1(1)
  return selective_ssm<float>(
      {.d_model = d_model, .d_state = N, .expand = 2, .dt_rank = 1},
      {.in_proj = matrix({2 * E, d_model})
                      .diagonal(0, 0, d_model)
                      .diagonal(d_model, 0, d_model, -1)
                      .column(d_model - 1, E, E, open_gate),
       .conv1d_weight = matrix({E, 1, 4}).column(3, 0, E, 1),
       .conv1d_bias = constant_weight({E}, 0),
       .x_proj = matrix({1 + 2 * N, E})
                     .diagonal(1, width, N)
                     .diagonal(1, d_model + width, N, -1)
                     .diagonal(1 + N, width, N)
                     .diagonal(1 + N, d_model + width, N, -1),
       .dt_proj = constant_weight({E, 1}, 0),
       .dt_bias = constant_weight({E}, unit_step),
       .A_log = constant_weight({E, N}, std::log(0.02)),  // forgets 2 % with every pair
       .D = constant_weight({E}, 0),
       .out_proj = matrix({d_model, E}).diagonal(0, 0, width).diagonal(0, d_model, width, -1)});
}

// Index of the stored value that y resembles most.
index_t recognise(const std::vector<float>& tokens, const std::vector<float>& y) {
  index_t best = 0;
  float highest = -1e30f;
  for (index_t i = 0; i < pairs; ++i) {
    const float likeness = dot<simd::native>(width, tokens.data() + i * d_model, y.data());
    if (likeness > highest) highest = likeness, best = i;
  }
  return best;
}

void measure(const char* name, const any_memory<float>& m, const std::vector<float>& tokens) {
  context ctx;
  auto s = m.init();
  std::vector<float> y(d_model), question(d_model);
  std::vector<int> right(std::size(distances)), asked(std::size(distances));
  for (index_t t = 0; t < pairs; ++t) {
    step(m, ctx, s, {tokens.data() + t * d_model, d_model}, y);
    for (std::size_t i = 0; i < std::size(distances); ++i) {
      const index_t target = t - distances[i];
      if (target < 0 || t < pairs / 2) continue;  // ask memories that are full
      std::memcpy(question.data(), tokens.data() + target * d_model, sizeof(float) * d_model);
      std::fill_n(question.data(), width, 0.0f);
      auto fork = s;  // asking leaves no trace in the stream itself
      step(m, ctx, fork, question, y);
      ++asked[i];
      right[i] += recognise(tokens, y) == target;
    }
  }
  std::printf("%-14s %11zu", name, footprint(s).owned);
  for (std::size_t i = 0; i < std::size(distances); ++i) std::printf(" %5d%%", 100 * right[i] / asked[i]);
  std::printf("\n");
}
}  // namespace

int main() {
  random_stream r(1, 0);
  std::vector<float> tokens(pairs * d_model, 1.0f);
  for (index_t t = 0; t < pairs; ++t)
    for (index_t i = 0; i < 2 * width; ++i)
      tokens[static_cast<std::size_t>(t * d_model + i)] = r.unit() < 0.5 ? -1 : 1;

  std::printf("recall of one of %td values, by distance in pairs\n\n%-14s %11s", pairs, "memory",
              "state bytes");
  for (const index_t d : distances) std::printf(" %6td", d);
  std::printf("\n");
  measure("full cache", cache<evict::full>(), tokens);
  measure("window cache", cache<evict::window>(), tokens);
  measure("selective SSM", selective_memory(), tokens);
}
