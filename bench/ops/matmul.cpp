// SPDX-License-Identifier: Apache-2.0
// Products with the weights of SmolLM2-135M, as rows and interleaved; "decode" is one row. Cold cases rotate
// the weights.
#include <mneme/backend/cpu/matmul.hpp>
#include <mneme/math/encode.hpp>
#include <mneme/math/interleave.hpp>

#include <algorithm>
#include <cctype>
#include <utility>
#include <vector>

#include "../case.hpp"
#include "../plain.hpp"

namespace {
using namespace bench;
using mneme::dtype;
using mneme::weight;

class problem {
 public:
  struct shape {
    index_t N, K;
    dtype stored;
    bool interleaved = false;
    mneme::precision numeric = mneme::precision::exact;
  };
  static double state_bytes(shape s) {
    return static_cast<double>(s.N) * static_cast<double>(mneme::row_bytes(s.stored, s.K));
  }
  static work cost(shape s, index_t rows) {
    const double R = static_cast<double>(rows), N = static_cast<double>(s.N), K = static_cast<double>(s.K);
    return {.fmas = R * N * K, .read = state_bytes(s), .rows = 4 * R * (N + K)};
  }
  problem(shape s, index_t rows, index_t states)
      : shape_(s), W_(states * s.N * mneme::row_bytes(s.stored, s.K)), X_(rows, s.K, 2), Y_(rows, s.N, 3) {
    const index_t drawn = std::min<index_t>(s.N, 251);  // rows; the others repeat them
    const matrix w(drawn, s.K, 1);
    const index_t once = drawn * mneme::row_bytes(s.stored, s.K);
    mneme::encode_row(s.stored, w.view().data(), drawn * s.K, W_.data());
    for (index_t i = once; i < W_.size(); i += once)
      std::copy_n(W_.data(), std::min(once, W_.size() - i), W_.data() + i);
    for (index_t i = 0; i < states; ++i) {
      weight rows(stored(i), {s.N, s.K, 1}, 2, s.stored, nullptr);
      weights_.push_back(s.interleaved ? mneme::interleaved(std::move(rows)) : std::move(rows));
    }
  }
  template <class Backend>
  void run(context& ctx, index_t state) {
    const mneme::precision before = std::exchange(ctx.numeric, shape_.numeric);
    mneme::kernel<mneme::matmul, Backend>::template run<float>(ctx, weights_[static_cast<std::size_t>(state)],
                                                               X_.view(), Y_.view());
    ctx.numeric = before;
  }
  void plain(index_t state) {
    plain::matmul(X_.rows(), shape_.N, shape_.K, reinterpret_cast<const float*>(stored(state)), &X_[0][0],
                  &Y_[0][0]);
  }
  mat_view<const float> output() const { return Y_.view(); }

 private:
  const std::byte* stored(index_t state) const {
    return W_.data() + state * shape_.N * mneme::row_bytes(shape_.stored, shape_.K);
  }
  shape shape_;
  mneme::buffer<std::byte> W_;
  std::vector<weight> weights_;  // of every state
  matrix X_, Y_;
};

// What the plain loop cannot read has none.
class encoded_problem : public problem {
 public:
  using problem::problem;
  void plain(index_t) = delete;
};

const suite all([] {
  struct {
    index_t K, N;
  } const shapes[] = {{576, 576}, {576, 1536}, {1536, 576}, {576, 49152}};
  for (const auto [K, N] : shapes) {
    const std::string name = "matmul/" + std::to_string(K) + "x" + std::to_string(N) + ",";
    // The last is beyond L2 by itself.
    const plan p{.hot = N < 4096, .prefill_by_all = N * K <= 576 * 576, .checked = 4};
    add<problem>(name + "f32", {N, K, dtype::f32}, p);
    add<problem>(name + "f32,interleaved", {N, K, dtype::f32, true}, p);
    for (const dtype stored : {dtype::bf16, dtype::q8_0, dtype::q4_1}) {
      std::string as = mneme::info(stored).name;
      std::ranges::transform(as, as.begin(), [](char c) { return static_cast<char>(std::tolower(c)); });
      add<encoded_problem>(name + as, {N, K, stored}, p);
      add<encoded_problem>(name + as + ",interleaved", {N, K, stored, true}, p);
      plan rounded = p;  // products in bfloat16 where the processor has them
      rounded.tolerance = 1e-2;
      add<encoded_problem>(name + as + ",interleaved,fast", {N, K, stored, true, mneme::precision::fast},
                           rounded);
    }
  }
});
}  // namespace
