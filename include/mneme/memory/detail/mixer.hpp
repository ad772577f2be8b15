// SPDX-License-Identifier: Apache-2.0
// mixer: the base of memories with projections, from d_model to d_model.
#pragma once
#include "../../backend/dispatch.hpp"
#include "../../core/lane_wise.hpp"
#include "../../math/tensor_plan.hpp"
#include "../../math/vector.hpp"
#include "../../op/matmul.hpp"

namespace mneme::inline MNEME_ABI::detail {

// X W^T in scratch rows.
template <class Backend, class T>
mat_view<T> project(context& ctx, context::frame& scratch, const weight& W, mat_view<const T> X) noexcept {
  const auto Y = scratch.template mat<T>(X.rows(), W.rows());
  if (X.rows() > 0) kernel<matmul, Backend>::template run<T>(ctx, W, X, Y);
  return Y;
}

// What is wrong with d_model, heads and the widths of a head. A width that is 0 stands for d_model / heads,
// or for half of that, which must be whole.
struct head_width {
  const char* name;
  index_t given;
  bool half = false;
};
inline status expect_heads(const char* memory, index_t d_model, index_t heads,
                           std::initializer_list<head_width> widths) {
  if (status s = expect_sizes(memory, {{"d_model", d_model}, {"heads", heads}}); !s) return s;
  for (const head_width& w : widths) {
    if (status s = expect_sizes(memory, {{w.name, w.given, 0}}); !s) return s;
    if (w.given == 0 && d_model % (w.half ? 2 * heads : heads) != 0)
      return message(memory, ": d_model is ", d_model, ", expected a multiple of ",
                     w.half ? "twice the heads, " : "heads, ", heads, ", or an explicit ", w.name);
  }
  return {};
}

// y = u sigmoid(g)        g, u, y [R, D]; y may be u
template <class Arch, class T>
void sigmoid_gate(mat_view<const T> G, mat_view<const T> U, mat_view<T> Y) noexcept {
  for (index_t r = 0; r < Y.rows(); ++r) {
    const T *g = G[r].data(), *u = U[r].data();
    T* const y = Y[r].data();
    for_packs<T, Arch>(Y.cols(), [&]<class P>(index_t i) {
      simd::store(y + i, simd::load<P>(u + i) * sigmoid(simd::load<P>(g + i)));
    });
  }
}

// A mixer M writes
//   static status check(const config&)                     what is wrong with a config
//   static config resolved(config)                         zeros replaced by their meaning
//   static tensor_plan<params> tensors(const config&)      of a resolved config
//   state, init, scan_many
// and takes over the constructors. One that derives tables from its tensors has constructors of its own, and
// offers its weights read-only.
template <class M, class T, class Backend, class Config, class Params>
class mixer : public lane_wise<M, T> {
 public:
  using config = Config;
  using params = Params;
  static constexpr bool row_stable = true;

  explicit mixer(config c, std::uint64_t seed = 0)
      : config_(complete(c)), params_(M::tensors(config_).seeded(seed)) {}
  // Fails if a tensor has another shape than the config asks for.
  mixer(config c, params p) : config_(complete(c)), params_(M::tensors(config_).checked(std::move(p))) {}

  index_t d_in() const { return config_.d_model; }
  index_t d_out() const { return config_.d_model; }
  const config& configuration() const { return config_; }
  params& weights() { return params_; }
  const params& weights() const { return params_; }

 protected:
  using arch = typename arch_of<Backend>::type;

  static mat_view<T> project(context& ctx, context::frame& scratch, const weight& W,
                             mat_view<const T> X) noexcept {
    return detail::project<Backend, T>(ctx, scratch, W, X);
  }

  config config_;
  params params_;

 private:
  static config complete(const config& c) { return M::resolved(checked_config<M>(c)); }
};

}  // namespace mneme::inline MNEME_ABI::detail
