// SPDX-License-Identifier: Apache-2.0
#include <mneme/io/safetensors.hpp>
#include <mneme/math/encode.hpp>
#include <mneme/memory/gated_delta_net.hpp>

#include "golden_layer.hpp"

#include "catch.hpp"

using namespace mneme;
using mneme_test::golden;

namespace {

gated_delta_net_config config_of(const golden& file, const std::string& name) {
  const auto number = [&](const char* flag) { return mneme_test::golden_number(file, name, flag); };
  return {.d_model = file.shape(name, "x")[1],
          .heads = number("heads"),
          .value_heads = number("value_heads"),
          .head_dim_k = number("head_dim_k"),
          .head_dim_v = number("head_dim_v"),
          .conv_size = number("conv"),
          .epsilon = 1e-6};
}
qwen3_next_params params_of(const golden& file, const std::string& name) {
  qwen3_next_params p;
  if (name == "checkpoint") {
    const auto tensors = safetensors_file::open(MNEME_GOLDEN_DIR "/qwen3_next.safetensors").value();
    load_weights(tensors, p, "model.layers.0.linear_attn").or_fail();
  } else
    visit_fields(
        [&](const field_path& at, weight& w) { w = mneme_test::golden_weight(file, name, at.text()); }, p);
  return p;
}

template <class M>
void qwen3_next_meets_golden_values(double bound) {
  using T = typename M::scalar;
  const golden file("qwen3_next");
  CHECK(file.cases().size() == 5);
  for (const std::string& name : file.cases()) {
    CAPTURE(name);
    const auto c = config_of(file, name);
    const M m(c, M::from_qwen3_next(c, params_of(file, name)).value());
    const auto X = mneme_test::golden_matrix<T>(file, name, "x");
    mneme_test::matrix<T> Y(X.rows(), c.d_model);
    const index_t prefill = mneme_test::golden_number(file, name, "prefill");
    context ctx;
    auto s = m.init();
    scan(m, ctx, s, X.view().first(prefill), Y.view().first(prefill));
    for (index_t t = prefill; t < X.rows(); ++t) step(m, ctx, s, X.view()[t], Y.view()[t]);
    CHECK(mneme_test::golden_error<T>(Y.view(), mneme_test::golden_matrix<double>(file, name, "y")) <= bound);
    CHECK(mneme_test::golden_state_error(file, name, "q_conv1", s.q_conv) <= bound);
    CHECK(mneme_test::golden_state_error(file, name, "k_conv1", s.k_conv) <= bound);
    CHECK(mneme_test::golden_state_error(file, name, "v_conv1", s.v_conv) <= bound);
    CHECK(mneme_test::golden_state_error(file, name, "s1", s.S) <= bound);
  }
}

}  // namespace

TEST_CASE("gated_delta_net takes Qwen3-Next's public tensors") {
  qwen3_next_meets_golden_values<gated_delta_net<double>>(1e-12);
  qwen3_next_meets_golden_values<gated_delta_net<double, reference>>(1e-12);
  qwen3_next_meets_golden_values<gated_delta_net<float>>(2e-5);
}

TEST_CASE("from_qwen3_next reorders rows of blocks as they are") {
  const gated_delta_net_config c{
      .d_model = 32, .heads = 2, .value_heads = 4, .head_dim_k = 3, .head_dim_v = 2};
  weight qkvz = weight::zeros<float>(28, 32);  // row r holds r
  for (index_t i = 0; i < qkvz.size(); ++i) edit<float>(qkvz)[i] = static_cast<float>(i / 32);
  weight ba = weight::zeros<float>(8, 32);
  std::copy_n(data<float>(qkvz), ba.size(), edit<float>(ba));
  qwen3_next_params p{.in_proj_qkvz = stored_as(qkvz, dtype::q8_0),
                      .in_proj_ba = ba,
                      .conv1d = weight::zeros<float>(20, 1, 4),
                      .dt_bias = weight::zeros<float>(4),
                      .A_log = weight::zeros<float>(4),
                      .norm = weight::zeros<float>(2),
                      .out_proj = weight::zeros<float>(32, 8)};
  const auto made = gated_delta_net<float>::from_qwen3_next(c, p).value();
  const auto rows = [](const weight& w) {
    const weight plain = decoded<float>(w);
    std::vector<int> first;
    for (index_t r = 0; r < w.rows(); ++r)
      first.push_back(static_cast<int>(std::lround(static_cast<const float*>(plain.row(r))[0])));
    return first;
  };
  CHECK(made.q_proj.type() == dtype::q8_0);
  CHECK(rows(made.q_proj) == std::vector{0, 1, 2, 14, 15, 16});
  CHECK(rows(made.k_proj) == std::vector{3, 4, 5, 17, 18, 19});
  CHECK(rows(made.v_proj) == std::vector{6, 7, 8, 9, 20, 21, 22, 23});
  CHECK(rows(made.g_proj) == std::vector{10, 11, 12, 13, 24, 25, 26, 27});
  CHECK(rows(made.b_proj) == std::vector{0, 1, 4, 5});
  CHECK(rows(made.a_proj) == std::vector{2, 3, 6, 7});
  CHECK(made.v_conv1d.data() == p.conv1d.row(12));  // shared
}

TEST_CASE("from_qwen3_next says what does not fit") {
  const golden file("qwen3_next");
  auto c = config_of(file, "odd");
  auto p = params_of(file, "odd");
  const auto refusal = [&] {
    const auto made = gated_delta_net<float>::from_qwen3_next(c, p);
    return made ? std::string() : made.error().message();
  };
  CHECK(refusal() == "");
  c.head_dim_k = 4;
  CHECK(refusal() == "qwen3_next: tensor in_proj_qkvz.weight has shape [56, 7], expected [52, 7]");
  c.head_dim_k = 5, c.conv_size = 3;
  CHECK(refusal() == "qwen3_next: tensor conv1d.weight has shape [38, 1, 4], expected [38, 1, 3]");
  c.conv_size = 4, p.A_log = {};
  CHECK(refusal() == "qwen3_next: tensor A_log has shape [], expected [6]");
  c.use_gate = false;
  CHECK(refusal() ==
        "qwen3_next: use_short_conv is 1, use_gate is 0, allow_neg_eigval is 0, expected 1, 1, 0");
  c.value_heads = 5;
  CHECK(refusal().starts_with("gated_delta_net: value_heads is 5"));
}
