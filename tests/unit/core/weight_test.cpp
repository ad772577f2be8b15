// SPDX-License-Identifier: Apache-2.0
#include <mneme/core/weight.hpp>

#include "catch.hpp"
#include "error_text.hpp"

#include <vector>

using namespace mneme;
using mneme_test::error_text;

TEST_CASE("shapes of vectors, matrices and cubes") {
  const weight vector = weight::zeros<float>(5), matrix = weight::zeros<float>(3, 4),
               cube = weight::zeros<double>(2, 3, 7), none;
  CHECK(vector.rank() == 1);
  CHECK(vector.rows() == 1);
  CHECK(vector.cols() == 5);
  CHECK(matrix.rank() == 2);
  CHECK(matrix.rows() == 3);
  CHECK(matrix.cols() == 4);
  CHECK(matrix.bytes() == 48);
  CHECK(cube.rows() == 6);
  CHECK(cube.cols() == 7);
  CHECK(cube.dim(0) == 2);
  CHECK(cube.size() == 42);
  CHECK(cube.type() == dtype::f64);
  CHECK(shape_text(cube.shape()) == "[2, 3, 7]");
  CHECK(shape_text(vector.shape()) == "[5]");
  CHECK(none.rows() == 0);
  CHECK(none.size() == 0);
  CHECK(shape_text(none.shape()) == "[]");
  CHECK_FALSE(none);
  CHECK(vector);
  CHECK(none == weight());
  CHECK_FALSE(none == vector);
  for (index_t i = 0; i < cube.size(); ++i) CHECK(data<double>(cube)[i] == 0);
}

TEST_CASE("rows of a weight lie one after the other in its storage type") {
  const weight w = weight::zeros<float>(3, 5);
  CHECK(w.row(2) == static_cast<const float*>(w.data()) + 10);
  const std::vector<std::byte> bytes(3 * 2 * 34);
  const weight q = weight::copy_of(bytes.data(), {3, 64, 1}, 2, dtype::q8_0);
  CHECK(q.bytes() == bytes.size());
  CHECK(q.row(1) == static_cast<const std::byte*>(q.data()) + 68);
}

TEST_CASE("a row of a block type fills its blocks") {
  const std::vector<std::byte> bytes(34);
  CHECK(error_text([&] { weight(bytes.data(), {1, 40, 1}, 2, dtype::q8_0, nullptr); }) ==
        "a row of 40 columns does not fill blocks of 32 (Q8_0)");
  CHECK(error_text([&] { weight::copy_of(bytes.data(), {33, 1, 1}, 1, dtype::q4_1); }) ==
        "a row of 33 columns does not fill blocks of 32 (Q4_1)");
  CHECK(error_text([&] { weight(bytes.data(), {1, 32, 1}, 2, dtype::q8_0, nullptr); }) == "no error");
  CHECK(error_text([&] { weight(bytes.data(), {17, 1, 1}, 2, dtype::bf16, nullptr); }) == "no error");
}

TEST_CASE("copies share and editing unshares") {
  weight a = weight::zeros<float>(2, 2);
  CHECK_FALSE(a.shared());
  float* own = edit<float>(a);
  CHECK(own == data<float>(a));  // nobody else reads it: in place
  own[3] = 5;

  weight b = a;
  CHECK(a.shared());
  CHECK(b.data() == a.data());
  CHECK(a == b);
  edit<float>(b)[3] = 6;
  CHECK(b.data() != a.data());
  CHECK(data<float>(a)[3] == 5);
  CHECK(data<float>(b)[3] == 6);
  CHECK_FALSE(a.shared());
  CHECK_FALSE(a == b);
  edit<float>(b)[3] = 5;
  CHECK(a == b);  // equal bytes elsewhere
  CHECK(edit<float>(a) == own);
}

TEST_CASE("bytes of somebody else are kept alive and never written") {
  auto owner = std::make_shared<std::vector<float>>(std::vector<float>{1, 2, 3});
  const std::weak_ptr<std::vector<float>> watch = owner;
  weight w(owner->data(), {3, 1, 1}, 1, dtype::f32, owner);
  owner.reset();
  REQUIRE_FALSE(watch.expired());
  const float* theirs = data<float>(w);
  const weight kept = w;
  edit<float>(w)[0] = 9;
  CHECK(data<float>(w) != theirs);
  CHECK(theirs[0] == 1);
  CHECK(data<float>(w)[2] == 3);
  const float* ours = data<float>(w);
  CHECK(edit<float>(w) == ours);  // the second edit stays
  CHECK_FALSE(watch.expired());
}

TEST_CASE("editing the only handle of borrowed bytes copies them too") {
  float constant[2] = {1, 2};
  weight w(constant, {2, 1, 1}, 1, dtype::f32, nullptr);
  edit<float>(w)[1] = 7;
  CHECK(constant[1] == 2);
  CHECK(data<float>(w)[1] == 7);
}

TEST_CASE("a weight is edited as what it is") {
  weight w = weight::zeros<float>(3);
  CHECK(error_text([&] { edit<double>(w); }) == "cannot edit a F32 weight as F64");
  const std::vector<std::byte> bytes(34);
  weight q = weight::copy_of(bytes.data(), {32, 1, 1}, 1, dtype::q8_0);
  CHECK(error_text([&] { edit<float>(q); }) == "cannot edit a Q8_0 weight as F32");
}

TEST_CASE("a tensor of another shape is named with both shapes") {
  const weight w = weight::zeros<float>(3, 4);
  CHECK(expect_shape("in_proj.weight", w, {3, 4}));
  const auto text = [&](std::initializer_list<index_t> shape) {
    return expect_shape("a.b", w, shape).error().message();
  };
  CHECK(text({3, 5}) == "tensor a.b has shape [3, 4], expected [3, 5]");
  CHECK(text({3}) == "tensor a.b has shape [3, 4], expected [3]");
  CHECK(text({3, 4, 1}) == "tensor a.b has shape [3, 4], expected [3, 4, 1]");
  CHECK(expect_shape("a.b", weight(), {2}).error().message() == "tensor a.b has shape [], expected [2]");
}

TEST_CASE("weights compare shape, type and bytes") {
  weight a = weight::zeros<float>(2, 6), b = weight::zeros<float>(3, 4);
  CHECK_FALSE(a == b);
  CHECK_FALSE(weight::zeros<float>(4) == weight::zeros<double>(2));
  const weight empty = weight::zeros<float>(0, 4);
  CHECK(empty.bytes() == 0);
  CHECK(empty == weight::zeros<float>(0, 4));
}

TEST_CASE("sizes beyond any memory are errors that say them") {
  constexpr index_t huge = index_t{1} << 40;
  CHECK(error_text([] { weight::zeros<float>(huge, huge); }) ==
        "a tensor of 1099511627776 x 1099511627776 x 1 elements is beyond any memory");
  CHECK(error_text([] { buffer<double>(huge << 22); }) ==
        "a buffer of 4611686018427387904 elements of 8 bytes is beyond any memory");
}
