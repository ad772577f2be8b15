// SPDX-License-Identifier: Apache-2.0
// What a benchmark of an op is made of: a problem, who computes it, and the work that it stands for.
#pragma once
#include <mneme/backend/dispatch.hpp>
#include <mneme/core/buffer.hpp>
#include <mneme/core/context.hpp>

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace benchmark {
class State;
}
namespace bench {

using mneme::context;
using mneme::index_t;
using mneme::mat_view;
using mneme::row_view;

// What a call does at least, whoever computes it. compare.py holds it against the limits of the same run.
struct work {
  double fmas = 0;     // multiply-adds of floats; a product or a sum alone counts as one
  double exps = 0;     // sigmoid, tanh and softplus count as one
  double read = 0;     // bytes of the state that are only read
  double updated = 0;  // bytes of the state that are changed in place, counted once
  double rows = 0;     // bytes of inputs and outputs
};

// Rows of floats, drawn evenly from [low, high). The same seed gives the same rows, however many they are.
class matrix {
 public:
  matrix(index_t rows, index_t cols, unsigned seed, double low = -1, double high = 1);
  index_t rows() const { return values_.size() / cols_; }
  index_t cols() const { return cols_; }
  row_view<float> operator[](index_t r) { return view()[r]; }
  mat_view<float> view() { return {values_.data(), rows(), cols_}; }
  mat_view<const float> view() const { return {values_.data(), rows(), cols_}; }
  // Every piece of `width` elements of every row to length 1.
  void normalise(index_t width);

 private:
  mneme::buffer<float> values_;
  index_t cols_;
};

// Which benchmarks are made of a problem.
struct plan {
  bool hot = true;             // decode: one token per call, always on the same state
  bool cold = true;            // decode: on many states in turn, far more than the second-level cache holds
  index_t prefill = 512;       // tokens (or rows) of a call; 0: none
  bool prefill_by_all = true;  // by the reference and the plain loop too, where that does not take too long
  int threads = 2;             // 1 and so many
  index_t checked = 80;        // tokens of a prefill that are compared with the reference
  double tolerance = 1e-4;     // of that comparison, relative to the largest output
};

struct contender {
  std::string name;
  void (*call)(void* problem, context& ctx, index_t state);
};

// A problem, its type erased. `make` builds one of `tokens` tokens and `states` states, each of state_bytes
// bytes: what belongs to one layer of one stream, weights included where calls are bound by them.
struct task {
  std::string name;  // "gla/16x128x128"
  plan modes;
  double state_bytes;
  std::function<std::shared_ptr<void>(index_t tokens, index_t states)> make;
  mat_view<const float> (*output)(void* problem);  // of the last call
  std::function<work(index_t tokens)> cost;
  std::vector<contender>
      contenders;  // the first is ours; one called "reference" is what others must agree with
};
// Registers <name>/decode/hot, /decode/cold and /prefill/<tokens>, each /threads:<n>/<contender>.
void add(task t);

// A problem is a struct like this:
//   struct foo {
//     struct shape { ... };
//     static double state_bytes(shape);
//     static work cost(shape, index_t tokens);               of one call
//     foo(shape, index_t tokens, index_t states);
//     template <class Backend> void run(context&, index_t state);
//     void plain(index_t state);                             optional: the same in plain loops, see plain.hpp
//     mat_view<const float> output() const;                  [tokens, ...]
//   };
template <class P>
void add(std::string name, typename P::shape s, plan modes = {}) {
  task t{std::move(name),
         modes,
         P::state_bytes(s),
         [s](index_t tokens, index_t states) { return std::make_shared<P>(s, tokens, states); },
         [](void* p) { return static_cast<const P*>(p)->output(); },
         [s](index_t tokens) { return P::cost(s, tokens); },
         {{"kernel",
           [](void* p, context& ctx, index_t i) { static_cast<P*>(p)->template run<mneme::native>(ctx, i); }},
          {"reference", [](void* p, context& ctx, index_t i) {
             static_cast<P*>(p)->template run<mneme::reference>(ctx, i);
           }}}};
  if constexpr (requires(P& p) { p.plain(index_t{}); })
    t.contenders.push_back({"plain", [](void* p, context&, index_t i) { static_cast<P*>(p)->plain(i); }});
  add(std::move(t));
}

// The context of a case: serial, or with so many threads. Kept, so that scratch and threads are there.
context& with_threads(int threads);
// The counters that compare.py holds against the limits; calls go round through `footprint` bytes.
void count(benchmark::State& timed, const work& w, double footprint, int threads);
// On stderr what the program is at: rewritten in place on a terminal, a line every ten seconds elsewhere.
void show_progress(const std::string& doing);

// Runs when the program has read its arguments:  const bench::suite all([] { bench::add<foo>(...); });
struct suite {
  explicit suite(void (*registers)());
};
void register_all();

}  // namespace bench
