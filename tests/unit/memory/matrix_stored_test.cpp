// SPDX-License-Identifier: Apache-2.0
// Memories whose matrix is stored in bfloat16.
#include <mneme/core/scan.hpp>
#include <mneme/io/state_file.hpp>
#include <mneme/memory/gated_delta_net.hpp>
#include <mneme/memory/linear_attention.hpp>
#include <mneme/memory/mlstm.hpp>

#include "catch.hpp"
#include "laws/matrix.hpp"

using namespace mneme;

namespace {
using bf16_net = gated_delta_net<float, native, bfloat16>;
using f32_net = gated_delta_net<float, native>;
const gated_delta_net_config net_config{.d_model = 8, .heads = 2, .head_dim_k = 5, .head_dim_v = 19};

template <class M>
state_t<M> state_after(const M& m, index_t tokens) {
  context ctx;
  auto s = m.init();
  const auto X = mneme_test::random_rows<float>(tokens, m.d_in(), 0, 5);
  m.scan(ctx, s, X.view(), {});
  return s;
}
}  // namespace

static_assert(Batched<bf16_net> && Sampled<bf16_net> && Readable<bf16_net> && row_stable<bf16_net>);
static_assert(std::is_same_v<decltype(mlstm<float, native, bfloat16>::state::S), buffer<bfloat16>> &&
              std::is_same_v<decltype(mlstm<float, native, bfloat16>::state::n), buffer<float>>);
static_assert(std::is_same_v<decltype(linear_attention<double, native, bfloat16>::state::z), buffer<double>>);

TEST_CASE("a matrix of bfloat16 takes half the bytes, all beside it keeps its type") {
  const auto s = bf16_net(net_config).init();
  const auto t = f32_net(net_config).init();
  CHECK((s.S.size() == t.S.size() && 2 * s.S.bytes() == t.S.bytes()));
  CHECK((s.q_conv == t.q_conv && s.v_conv.bytes() == t.v_conv.bytes()));
  CHECK(footprint(t).owned - footprint(s).owned == s.S.bytes());
}

TEST_CASE("a state with a matrix of bfloat16 is saved, loaded and told from one of float") {
  const bf16_net m(net_config, 3);
  const auto s = state_after(m, 6);
  const state_info info{.kind = "gated_delta_net"};
  const auto file = save_state(s, info);
  REQUIRE(file.has_value());
  auto loaded = m.init();
  REQUIRE(load_state(*file, m, loaded, info).has_value());
  CHECK(loaded == s);

  const f32_net other(net_config, 3);
  auto untouched = other.init();
  const auto refused = load_state(*file, other, untouched, info);
  REQUIRE(!refused.has_value());
  CHECK(refused.error().message().find("BF16") != std::string::npos);
  CHECK(untouched == other.init());
}

TEST_CASE("what a matrix of bfloat16 recalls is near what one of float does") {
  const bf16_net m(net_config, 3);
  const f32_net other(net_config, 3);
  const auto s = state_after(m, 40);
  const auto t = state_after(other, 40);
  const auto x = mneme_test::random_rows<float>(1, m.d_in(), 0, 6);
  mneme_test::matrix<float> y(1, m.d_out()), z(1, m.d_out());
  context ctx;
  m.read(ctx, s, x.view()[0], y.view()[0]);
  other.read(ctx, t, x.view()[0], z.view()[0]);
  float furthest = 0, largest = 0;
  for (index_t i = 0; i < m.d_out(); ++i) {
    furthest = std::max(furthest, std::abs(y.view()[0][i] - z.view()[0][i]));
    largest = std::max(largest, std::abs(z.view()[0][i]));
  }
  CHECK((furthest > 0 && furthest < 0.02f * largest));
}
