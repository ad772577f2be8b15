// SPDX-License-Identifier: Apache-2.0
#include <mneme/memory/mlstm.hpp>

#include "catch.hpp"
#include "golden_layer.hpp"
#include "outputs.hpp"

using namespace mneme;
using mneme_test::golden;

namespace {

template <class M>
void mlstm_sigmoid_meets_golden_values(double bound) {
  const golden file("mlstm_sigmoid");
  CHECK(file.cases().size() == 5);
  for (const std::string& name : file.cases()) {
    CAPTURE(name);
    const auto number = [&](const char* flag) { return mneme_test::golden_number(file, name, flag); };
    const index_t heads = number("heads");
    const auto m = mneme_test::golden_layer<M>(file, name,
                                               {.d_model = file.shape(name, "x")[1],
                                                .heads = heads,
                                                .head_dim_k = file.shape(name, "q.weight")[0] / heads,
                                                .head_dim_v = file.shape(name, "v.weight")[0] / heads,
                                                .input_gate = mlstm_gate::sigmoid,
                                                .normalise = number("normalise") == 1,
                                                .gate_soft_cap = static_cast<double>(number("soft_cap"))});
    auto s = m.init();
    CHECK(mneme_test::golden_output_error(file, name, m, s) <= bound);
    CHECK(mneme_test::golden_state_error(file, name, "c1", s.S) <= bound);
    CHECK(file.has(name, "n1") == (s.n.size() > 0));
    if (s.n.size() > 0) CHECK(mneme_test::golden_state_error(file, name, "n1", s.n) <= bound);
    CHECK(s.m.size() == 0);
  }
}

}  // namespace

TEST_CASE("mlstm with a sigmoid input gate meets the golden values") {
  mlstm_sigmoid_meets_golden_values<mlstm<double>>(1e-12);
  mlstm_sigmoid_meets_golden_values<mlstm<double, reference>>(1e-12);
  mlstm_sigmoid_meets_golden_values<mlstm<float>>(2e-5);
}

TEST_CASE("mlstm: an exponential gate of log sigmoid is a sigmoid gate") {
  mlstm_config c{.d_model = 8, .heads = 2, .gate_soft_cap = 0, .normaliser_epsilon = 0};
  auto p = mlstm<double>(c, 5).weights();
  p.igate_preact = weight::zeros<float>(2, 8);  // gates that do not depend on x
  p.igate_preact_bias = weight::zeros<double>(2);
  for (index_t h = 0; h < 2; ++h)
    edit<double>(p.igate_preact_bias)[h] = -std::log1p(std::exp(1.5 - 3 * static_cast<double>(h)));
  const mlstm<double> exponential(c, p);
  for (index_t h = 0; h < 2; ++h) edit<double>(p.igate_preact_bias)[h] = 3 * static_cast<double>(h) - 1.5;
  c.input_gate = mlstm_gate::sigmoid;
  const mlstm<double> sigmoidal(c, p);
  const auto X = mneme_test::random_rows<double>(40, 8, 0, 6);
  CHECK(mneme_test::golden_error<double>(mneme_test::outputs(sigmoidal, X.view()),
                                         mneme_test::outputs(exponential, X.view())) <= 1e-12);
}

TEST_CASE("mlstm: what a sigmoid gate keeps, and what an exponential one cannot do without") {
  const mlstm<float> bare({.d_model = 8, .heads = 2, .input_gate = mlstm_gate::sigmoid, .normalise = false});
  CHECK(footprint(bare.init()).owned == sizeof(float) * 2 * 2 * 4);
  const auto refused = make<mlstm<float>>({.d_model = 8, .heads = 2, .normalise = false});
  REQUIRE(!refused);
  CHECK(refused.error().message() == "mlstm: normalise is false, expected it with a sigmoid input_gate only");
}
