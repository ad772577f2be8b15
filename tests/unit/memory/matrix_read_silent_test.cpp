// SPDX-License-Identifier: Apache-2.0
// read is the answer that a token gets which neither writes nor fades anything.
#include <mneme/memory/gla.hpp>
#include <mneme/memory/hgrn2.hpp>
#include <mneme/memory/kda.hpp>
#include <mneme/memory/mlstm.hpp>
#include <mneme/memory/retention.hpp>
#include <mneme/memory/rwkv6.hpp>
#include <mneme/memory/rwkv7.hpp>
#include <mneme/memory/simple_gla.hpp>

#include "plain_layer.hpp"

using namespace mneme;

namespace {

void fill(weight& w, double x) { std::fill_n(edit<float>(w), w.size(), static_cast<float>(x)); }

// max |read - step of the silent twin| / max |step| from a state that other tokens have written.
// silence(params) makes of the weights those of the twin: what writes and fades differs, what asks does not.
template <class M, class F>
double silent_error(typename M::config c, F&& silence) {
  const M m(c, 3);
  auto p = m.weights();
  silence(p);
  const M silent(c, p);
  context ctx;
  auto s = m.init();
  plain::row y(static_cast<std::size_t>(m.d_out())), expected = y;
  for (const auto& x : plain::random_rows(9, m.d_in(), 6)) step(m, ctx, s, x, y);
  double error = 0, scale = 0;
  for (const auto& x : plain::random_rows(3, m.d_in(), 8)) {
    auto branch = s;
    step(silent, ctx, branch, x, expected);
    read(m, ctx, s, x, y);
    for (std::size_t i = 0; i < y.size(); ++i) {
      const double d = std::abs(y[i] - expected[i]);
      error = d <= error ? error : d;  // NaN stays
      scale = std::max(scale, std::abs(expected[i]));
    }
  }
  return error / scale;
}

}  // namespace

TEST_CASE("read answers as to a token that leaves no trace: rules that add") {
  CHECK(silent_error<gla<double, reference>>({.d_model = 12, .heads = 3}, [](gla_params& p) {
          fill(p.v_proj, 0), fill(p.gk_proj_bias, 1e4);
        }) <= 1e-12);
  CHECK(silent_error<simple_gla<double, reference>>({.d_model = 12, .heads = 3}, [](simple_gla_params& p) {
          fill(p.v_conv1d, 0), fill(p.gk_proj_bias, 1e4);
        }) <= 1e-12);
  CHECK(silent_error<hgrn2<double, reference>>({.d_model = 12, .heads = 3, .use_lower_bound = true},
                                               [](hgrn2_params& p) { fill(p.lower_bound, 1); }) <= 1e-12);
  // The norm of a head does not see that a step fades it by one number.
  CHECK(silent_error<retention<double, reference>>({.d_model = 12, .heads = 3, .epsilon = 0},
                                                   [](retention_params& p) { fill(p.v_proj, 0); }) <= 1e-12);
  for (const mlstm_config& c :
       {mlstm_config{.d_model = 12, .heads = 3, .gate_soft_cap = 0},
        mlstm_config{.d_model = 12, .heads = 3, .input_gate = mlstm_gate::sigmoid, .gate_soft_cap = 0},
        mlstm_config{.d_model = 12,
                     .heads = 3,
                     .input_gate = mlstm_gate::sigmoid,
                     .normalise = false,
                     .gate_soft_cap = 0}})
    CHECK(silent_error<mlstm<double, reference>>(c, [](mlstm_params& p) {
            fill(p.igate_preact_bias, -1e4), fill(p.fgate_preact_bias, 1e4);
          }) <= 1e-12);
}

TEST_CASE("read answers as to a token that leaves no trace: delta rules and time mixings") {
  CHECK(silent_error<kda<double, reference>>({.d_model = 12, .heads = 3}, [](kda_params& p) {
          fill(p.k_conv1d, 0), fill(p.A_log, -1e4);
        }) <= 1e-12);
  CHECK(silent_error<rwkv6<double, reference>>(
            {.d_model = 12, .heads = 3, .mix_rank = 2, .decay_rank = 2},
            [](rwkv6_params& p) { fill(p.key, 0), fill(p.time_decay, -1e4); }) <= 1e-12);
  for (const value_residual r : {value_residual::none, value_residual::gives, value_residual::takes})
    CHECK(silent_error<rwkv7<double, reference>>({.d_model = 12, .heads = 3, .residual = r},
                                                 [](rwkv7_params& p) { fill(p.key, 0), fill(p.w0, -1e4); }) <=
          1e-12);
}
