// SPDX-License-Identifier: Apache-2.0
#include <mneme/io/mapped_file.hpp>
#include <mneme/memory/engram.hpp>

#include "catch.hpp"
#include "golden_layer.hpp"
#include "laws/compare.hpp"
#include "lookup_case.hpp"
#include "outputs.hpp"

#include <cstdio>
#include <filesystem>

using namespace mneme;
using namespace lookup_test;
using mneme_test::matrix;
using mneme_test::outputs;

static_assert(std::same_as<input_t<engram<float>>, token_id> && Batched<engram<float>> &&
              Validated<engram<float>>);

namespace {

const engram_config usual{.d_model = 6,
                          .vocabulary = 9,
                          .token_map = {0, 1, 2, 1, 3, 4, 0, 5, 6},
                          .pad_id = 7,
                          .engram_vocab_size = {10, 10},
                          .n_embed_per_ngram = 6,
                          .n_head_per_ngram = 2,
                          .multipliers = {12345677, 987654321, 555555555555},
                          .kernel_size = 3};
const std::vector<index_t> primes = {11, 13, 17, 19};

vec normed(const weight& w, double epsilon, vec x) {
  double squares = 0;
  for (const double a : x) squares += a * a / static_cast<double>(x.size());
  for (std::size_t i = 0; i < x.size(); ++i)
    x[i] *= at(w, static_cast<index_t>(i)) / std::sqrt(squares + epsilon);
  return x;
}

// All tokens at once, by the equations; H: hidden rows.
matrix<double> plainly(const engram<double>& m, const std::vector<token_id>& ids, const std::vector<vec>& H) {
  const auto& p = m.weights();
  const auto& c = m.configuration();
  std::vector<vec> u, conv_in;
  matrix<double> Y(static_cast<index_t>(ids.size()), c.d_model);
  for (std::size_t t = 0; t < ids.size(); ++t) {
    const auto id = [&](std::size_t back) -> std::int64_t {
      return c.token_map[static_cast<std::size_t>(t >= back ? ids[t - back] : c.pad_id)];
    };
    const std::int64_t two = (id(0) * c.multipliers[0]) ^ (id(1) * c.multipliers[1]);
    const std::int64_t mixes[] = {two, two, two ^ (id(2) * c.multipliers[2]),
                                  two ^ (id(2) * c.multipliers[2])};
    vec e;
    index_t first = 0;
    for (std::size_t table = 0; table < 4; ++table) {
      for (index_t d = 0; d < 3; ++d)
        e.push_back(at(p.embedding, (first + mixes[table] % primes[table]) * 3 + d));
      first += primes[table];
    }
    const vec k = normed(p.norm1, c.epsilon, affine(p.key_proj, p.key_bias, e)),
              q = normed(p.norm2, c.epsilon, H[t]);
    double s = 0;
    for (std::size_t i = 0; i < k.size(); ++i) s += k[i] * q[i] / std::sqrt(6.0);
    u.push_back(affine(p.value_proj, p.value_bias, e));
    for (double& a : u[t]) a *= sigmoid(std::copysign(std::sqrt(std::max(std::abs(s), 1e-6)), s));
    conv_in.push_back(normed(p.conv_norm, c.conv_epsilon, u[t]));
    for (std::size_t d = 0; d < 6; ++d) {
      double sum = 0;
      for (std::size_t j = 0; j < 3; ++j)  // tap 2 is the current row, the others are 3 rows apart
        if (t >= 3 * (2 - j))
          sum += at(p.conv, static_cast<index_t>(d * 3 + j)) * conv_in[t - 3 * (2 - j)][d];
      Y.view()[static_cast<index_t>(t)][static_cast<index_t>(d)] = u[t][d] + sum * sigmoid(sum);
    }
  }
  return Y;
}

std::vector<token_id> some_ids(index_t n) {
  random_stream draw(9, 9);
  std::vector<token_id> ids;
  for (index_t t = 0; t < n; ++t) ids.push_back(static_cast<token_id>(draw.bits() % 9));
  return ids;
}
mat_view<const token_id> column(const std::vector<token_id>& ids) {
  return {ids.data(), static_cast<index_t>(ids.size()), 1};
}

// The public module with one branch: hidden rows in the gate, in chunks, then token by token.
template <class T>
void engram_meets_golden_values(double bound) {
  const mneme_test::golden file("engram");
  CHECK(file.cases().size() == 4);
  for (const std::string& name : file.cases()) {
    CAPTURE(name);
    const auto number = [&](const char* flag) { return mneme_test::golden_number(file, name, flag); };
    const auto X = mneme_test::golden_matrix<token_id>(file, name, "x", 1);
    const auto H = mneme_test::golden_matrix<T>(file, name, "h");
    engram_config c{.d_model = H.cols(),
                    .vocabulary = number("vocabulary"),
                    .pad_id = static_cast<token_id>(number("pad_id")),
                    .engram_vocab_size = {},
                    .n_embed_per_ngram = number("width"),
                    .n_head_per_ngram = number("heads"),
                    .layer = number("layer"),
                    .kernel_size = file.shape(name, "short_conv.conv.weight")[2]};
    for (const double id : file.values(name, "token_map")) c.token_map.push_back(static_cast<token_id>(id));
    for (const double n : file.values(name, "sizes")) c.engram_vocab_size.push_back(static_cast<index_t>(n));
    const auto halves = file.values(name, "multipliers");  // quotient and remainder by 2^31
    for (std::size_t i = 0; i < halves.size(); i += 2)
      c.multipliers.push_back(static_cast<std::int64_t>(halves[i]) * (std::int64_t{1} << 31) +
                              static_cast<std::int64_t>(halves[i + 1]));
    const auto m = mneme_test::golden_layer<engram<T>>(file, name, c);
    const auto primes = file.values(name, "primes");
    CHECK(std::ranges::equal(m.hash().primes, primes));
    matrix<T> Y(X.rows(), c.d_model);
    context ctx;
    auto s = m.init();
    for (index_t t = 0, rows = 0; t < X.rows(); t += rows) {
      rows = t < 10 ? std::min<index_t>(5, X.rows() - t) : 1;
      m.augment(ctx, s, X.view().range(t, t + rows), H.view().range(t, t + rows),
                Y.view().range(t, t + rows));
    }
    CHECK(mneme_test::golden_error<T>(Y.view(), mneme_test::golden_matrix<double>(file, name, "y")) < bound);
  }
}

}  // namespace

TEST_CASE("engram meets the golden values of the published demonstration") {
  engram_meets_golden_values<double>(1e-12);
  engram_meets_golden_values<float>(2e-5);
}

TEST_CASE("engram is what it says, gated by its own query or by hidden rows") {
  engram_params p = engram<double>(usual, 3).weights();
  p.norm2 = uniform_weight({6}, 1, random_stream(4, 4));
  const engram<double> m(usual, p);
  const auto ids = some_ids(23);
  std::vector<vec> H(ids.size(), vec(6, 1e6));  // large: epsilon vanishes beside it
  CHECK(mneme_test::golden_error<double>(outputs(m, column(ids)), plainly(m, ids, H)) < 1e-12);

  const auto hidden = mneme_test::random_rows<double>(23, 6, 0, 5);
  for (std::size_t t = 0; t < H.size(); ++t) H[t] = row_of<double>(hidden.view()[static_cast<index_t>(t)]);
  context ctx;
  auto s = m.init();
  matrix<double> Y(23, 6);
  for (index_t t = 0; t < 23; t += 5) {  // in chunks
    const index_t to = std::min<index_t>(t + 5, 23);
    m.augment(ctx, s, column(ids).range(t, to), hidden.view().range(t, to), Y.view().range(t, to));
  }
  CHECK(mneme_test::golden_error<double>(Y, plainly(m, ids, H)) < 1e-12);
}

TEST_CASE("engram: tables have different primes, over n, heads and layers") {
  CHECK(detail::table_primes({10, 10}, 2, 0) == primes);
  CHECK(detail::table_primes({10, 10}, 2, 1) == std::vector<index_t>{23, 29, 31, 37});
  CHECK(detail::table_primes({1, 4}, 1, 0) == std::vector<index_t>{2, 5});
  CHECK(engram<float>(usual).weights().embedding.rows() == 11 + 13 + 17 + 19);
}

TEST_CASE("engram: addresses stay inside for large vocabularies, and follow from the last ids alone") {
  engram_config c = usual;
  c.token_map.clear();
  c.vocabulary = 1 << 20;
  c.engram_vocab_size = {1000, 50};
  c.multipliers.clear();
  const engram<float> m(c);
  random_stream draw(5, 6);
  std::vector<token_id> ids;
  for (int t = 0; t < 2000; ++t) ids.push_back(static_cast<token_id>(draw.bits() % (1 << 20)));
  for (const std::size_t at : {100u, 1500u})
    std::copy_n(ids.begin() + 7, 3, ids.begin() + static_cast<index_t>(at));
  matrix<index_t> rows(2000, 4);
  auto past = m.init().ids;
  m.hash().addresses(past, column(ids), rows.view());
  index_t first = 0;
  for (index_t table = 0; table < 4; ++table) {
    const index_t p = m.hash().primes[static_cast<std::size_t>(table)];
    for (index_t t = 0; t < 2000; ++t)
      REQUIRE((rows.view()[t][table] >= first && rows.view()[t][table] < first + p));
    first += p;
    CHECK(rows.view()[102][table] == rows.view()[9][table]);
    CHECK(rows.view()[1502][table] == rows.view()[9][table]);
  }
  CHECK(past == [&] {
    buffer<token_id> last(2);
    std::copy_n(ids.end() - 2, 2, last.begin());
    return last;
  }());
}

TEST_CASE("engram: equal text is one id, ids outside of the vocabulary are the pad") {
  const engram<float> m(usual, 2);
  const auto same = [&](std::vector<token_id> a, std::vector<token_id> b) {
    return mneme_test::bit_difference<float>(outputs(m, column(a)), outputs(m, column(b))) == "";
  };
  CHECK(same({1, 2, 3, 8}, {3, 2, 1, 8}));
  CHECK(same({4, 7, 7, 5}, {4, -1, 9, 5}));
  CHECK_FALSE(same({1, 2, 3, 8}, {4, 2, 3, 8}));
}

TEST_CASE("engram: empty tables without biases say nothing") {
  engram_params p = engram<float>(usual).weights();
  p.embedding = constant_weight({60, 3}, 0);
  p.value_bias = p.key_bias = constant_weight({6}, 0);
  const auto Y = outputs(engram<float>(usual, p), column(some_ids(9)));
  for (index_t t = 0; t < 9; ++t)
    for (const float y : Y.view()[t]) CHECK(y == 0);
}

TEST_CASE("engram reads int8 tables of a mapped file in place") {
  engram_config c = usual;
  c.n_embed_per_ngram = 64;
  c.storage = dtype::q8_0;
  const engram<float> m(c, 4);
  engram_params p = m.weights();
  const std::string path = (std::filesystem::temp_directory_path() / "mneme_engram_test.table").string();
  {
    std::FILE* const file = std::fopen(path.c_str(), "wb");
    REQUIRE(file);
    CHECK(std::fwrite(p.embedding.data(), 1, p.embedding.bytes(), file) == p.embedding.bytes());
    CHECK(std::fclose(file) == 0);
  }
  auto mapped = mapped_file::open(path).value();
  const void* const bytes = mapped->bytes().data();
  p.embedding = weight(bytes, {60, 32, 1}, 2, dtype::q8_0, std::move(mapped));
  const engram<float> other(c, p);
  p = {};
  CHECK(other.weights().embedding.data() == bytes);
  const auto ids = some_ids(30);
  CHECK(mneme_test::bit_difference<float>(outputs(other, column(ids)), outputs(m, column(ids))) == "");
  std::remove(path.c_str());
}

TEST_CASE("engram refuses constants that do not fit") {
  using memory = engram<float>;
  const auto with = [](auto&& change) {
    engram_config c = usual;
    change(c);
    return c;
  };
  CHECK_THROWS_WITH(
      memory(with([](auto& c) { c.n_embed_per_ngram = 7; })),
      "engram: n_embed_per_ngram is 7, expected a multiple of n_head_per_ngram, 2, times 1 (F32)");
  CHECK_THROWS_WITH(memory(with([](auto& c) { c.pad_id = 9; })),
                    "engram: pad_id is 9, expected an id below vocabulary, 9");
  CHECK_THROWS_WITH(memory(with([](auto& c) { c.token_map.pop_back(); })),
                    "engram: token_map has 8 ids, expected vocabulary, 9");
  CHECK_THROWS_WITH(memory(with([](auto& c) { c.multipliers[1] = 4; })),
                    "engram: a multiplier is 4, expected an odd one up to 1317624576693539401");
  CHECK_THROWS_WITH(memory(with([](auto& c) { c.multipliers.pop_back(); })),
                    "engram: there are 2 multipliers, expected 3");
  CHECK_THROWS_WITH(memory(with([](auto& c) { c.engram_vocab_size = {}; })),
                    "engram: engram_vocab_size is empty, expected a size for n = 2");
}
