// SPDX-License-Identifier: Apache-2.0
#include <mneme/memory/hgrn2.hpp>

#include "golden_layer.hpp"
#include "plain_layer.hpp"

using namespace mneme;
using mneme_test::golden;

static_assert(Batched<hgrn2<float>> && Sampled<hgrn2<double>>);
static_assert(Memory<hgrn2<float, reference>> && row_stable<hgrn2<float>>);

namespace {

// Channel by channel: row i of S is the average of the values, each token weighted with 1 - alpha[i] and what
// later tokens leave of it.
plain::rows as_averages(const hgrn2_config& c, const hgrn2_params& p, const plain::rows& X) {
  const auto Q = plain::map(plain::product(p.q_proj, X), plain::silu), V = plain::product(p.i_proj, X);
  auto A = plain::map(plain::product(p.f_proj, X), plain::sigmoid);
  if (c.use_lower_bound) {
    const auto low = plain::elements(p.lower_bound);
    for (auto& a : A)
      for (std::size_t i = 0; i < a.size(); ++i) a[i] = low[i] + (1 - low[i]) * a[i];
  }
  plain::rows O;
  for (std::size_t t = 0; t < X.size(); ++t) {
    plain::row o(V[t].size());
    for (index_t i = 0; i < c.heads * c.head_dim_k; ++i) {
      double kept = plain::at(Q[t], i) / std::sqrt(static_cast<double>(c.head_dim_k));
      const index_t h = i / c.head_dim_k;
      for (std::size_t s = t + 1; s-- > 0;) {
        const double weight = kept * (1 - plain::at(A[s], i));
        for (index_t j = h * c.head_dim_v; j < (h + 1) * c.head_dim_v; ++j)
          plain::at(o, j) += weight * plain::at(V[s], j);
        kept *= plain::at(A[s], i);
      }
    }
    O.push_back(plain::head_norm(o, p.g_norm, c.epsilon));  // all heads as one
  }
  return plain::product(p.o_proj, O);
}

template <class M>
void hgrn2_meets_golden_values(double bound) {
  const golden file("hgrn2_layer");
  for (const std::string& name : file.cases()) {
    CAPTURE(name);
    const index_t heads = mneme_test::golden_number(file, name, "heads");
    const auto m = mneme_test::golden_layer<M>(file, name,
                                               {.d_model = file.shape(name, "x")[1],
                                                .heads = heads,
                                                .head_dim_k = file.shape(name, "q_proj.weight")[0] / heads,
                                                .head_dim_v = file.shape(name, "i_proj.weight")[0] / heads,
                                                .use_lower_bound = file.has(name, "lower_bound")});
    auto s = m.init();
    CHECK(mneme_test::golden_output_error(file, name, m, s) <= bound);
    CHECK(mneme_test::golden_state_error(file, name, "s1", s.S) <= bound);
  }
}

}  // namespace

TEST_CASE("hgrn2 averages values, each key channel at its own pace") {
  using config = hgrn2_config;
  for (const config& given : {config{.d_model = 7, .heads = 3, .head_dim_k = 18, .head_dim_v = 37},
                              config{.d_model = 6, .heads = 2, .use_lower_bound = true, .epsilon = 0.1}}) {
    hgrn2<double> m(given, 5);
    plain::randomise(m.weights().g_norm, 1);
    if (given.use_lower_bound) {
      plain::randomise(m.weights().lower_bound, 2);
      for (index_t i = 0; i < 6; ++i) edit<float>(m.weights().lower_bound)[i] -= 0.5f;  // in (0, 1)
    }
    const auto& c = m.configuration();
    const auto X = plain::random_rows(11, c.d_model, 6);
    const auto expected = as_averages(c, m.weights(), X);
    CHECK(plain::error_of(m, X, expected) <= 1e-12);
    CHECK(plain::error_of(m, X, expected, 8) <= 1e-12);
    CHECK(plain::error_of(hgrn2<double, reference>(c, m.weights()), X, expected) <= 1e-12);
    CHECK(plain::error_of(hgrn2<float>(c, m.weights()), X, expected) <= 2e-5);
  }
}

TEST_CASE("hgrn2 meets the golden values") {
  hgrn2_meets_golden_values<hgrn2<double>>(1e-12);
  hgrn2_meets_golden_values<hgrn2<double, reference>>(1e-12);
  hgrn2_meets_golden_values<hgrn2<float>>(2e-5);
}

TEST_CASE("hgrn2 takes its lower bound from the table of a model") {
  const golden file("hgrn2_layer");
  const auto table = mneme_test::golden_weight(file, "bound", "lower_bounds");
  const auto expected = file.values("bound", "lower_bound");
  const weight bound = hgrn2_lower_bound(table, mneme_test::golden_number(file, "bound", "layer"));
  REQUIRE((bound.rank() == 1 && bound.size() == 15));
  for (index_t i = 0; i < bound.size(); ++i)
    CHECK(static_cast<double>(data<float>(bound)[i]) == Approx(plain::at(expected, i)).epsilon(1e-6));
  CHECK(hgrn2_lower_bound(table, 0) == weight::zeros<float>(15));
  CHECK_THROWS_AS(hgrn2_lower_bound(table, 4), error);
  // A table of zeros: layer l of L has the bound l / L.
  CHECK(data<float>(hgrn2_lower_bound(weight::zeros<float>(4, 3), 3))[1] == 0.75f);
}

TEST_CASE("hgrn2: rows of the state stay within a constant value") {
  hgrn2<float> m({.d_model = 6, .heads = 1}, 7);
  const auto X = plain::random_rows(1, 6, 8);
  const std::vector<float> x(X[0].begin(), X[0].end());
  const auto v = plain::product(m.weights().i_proj, X[0]);
  std::vector<float> y(6);
  context ctx;
  auto s = m.init();
  for (int t = 0; t < 200; ++t) {
    step(m, ctx, s, x, y);
    bool within = true;
    for (index_t i = 0; i < 36; ++i) {
      const double share = static_cast<double>(s.S[i]) / plain::at(v, i % 6);
      within = within && share > 0 && share <= 1 + 1e-5;
    }
    CHECK(within);
  }
  for (index_t i = 0; i < 36; ++i) CHECK(static_cast<double>(s.S[i]) == Approx(plain::at(v, i % 6)));
}

TEST_CASE("hgrn2 refuses what does not fit") {
  CHECK(!make<hgrn2<float>>({.d_model = 7, .heads = 2}).has_value());
  CHECK(!make<hgrn2<float>>({.d_model = 6, .heads = 0}).has_value());
  CHECK(!make<hgrn2<float>>({.d_model = 6, .heads = 2, .epsilon = -1}).has_value());
  hgrn2_config c{.d_model = 4, .heads = 2};
  const auto p = hgrn2<float>(c).weights();
  c.use_lower_bound = true;
  CHECK_THROWS_AS(hgrn2<float>(c, p), error);  // the tensor is missing
}
