// SPDX-License-Identifier: Apache-2.0
// load_state of a cache with an eviction policy: a state that is accepted can be gone on with, one that is
// refused leaves the old state as it was. The checksum is set right here, or no input would get past it.
#include "fuzz.hpp"

#include <mneme/evict/h2o.hpp>
#include <mneme/io/state_file.hpp>
#include <mneme/memory/kv_attention.hpp>

using cache = mneme::kv_attention<float, mneme::evict::h2o>;

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const cache model({.d_model = 2, .heads = 1, .capacity = 3});
  static const auto info = [] { return mneme::state_info{}; }();
  using namespace mneme::detail;
  const auto content = fuzz::bytes(data, size);
  const std::unique_ptr<std::byte[]> file(new std::byte[size]);
  std::ranges::copy(content, file.get());
  const std::span<const std::byte> whole(file.get(), size);
  if (size > checksum_at + checksum_digits)
    std::memcpy(file.get() + checksum_at, state_checksum(whole).data(), checksum_digits);

  mneme::context ctx;
  const float x[2] = {0.5f, -1};
  float y[2];
  auto s = model.init();
  mneme::step(model, ctx, s, x, y);
  const auto before = s;
  const auto loaded = mneme::load_state(whole, model, s, info);
  if (!loaded) {
    fuzz::require(s == before, "a refusal changes nothing");
    fuzz::require(loaded.error().message().starts_with("state: "), "a refusal names the file");
    return 0;
  }
  const auto saved = mneme::save_state(s, *loaded);
  fuzz::require(saved.has_value(), "what was loaded can be saved");
  auto again = model.init();
  const auto second = mneme::load_state(std::span<const std::byte>(*saved), model, again, info);
  fuzz::require(second && again == s, "what was saved can be loaded");
  for (int i = 0; i < 5; ++i) mneme::step(model, ctx, s, x, y);
  return 0;
}
