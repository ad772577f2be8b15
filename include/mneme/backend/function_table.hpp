// SPDX-License-Identifier: Apache-2.0
// One program for every processor: plain functions, built once per instruction set, and the best of them
// chosen at run time.
//
//   predictor.hpp    struct predictor { void (*step)(void* stream, const float* x, float* y); /* ... */ };
//                    MNEME_DECLARE_TABLES(predictor);
//   predictor.cpp    MNEME_DEFINE_TABLE(predictor, .step = step, /* ... */);
//   CMakeLists.txt   mneme_add_dispatched(app TABLE predictor SOURCES predictor.cpp)
//   main.cpp         const auto best = predictor_tables.best().value();
//                    best->step(stream, x, y);
//
// Types of the library carry the instruction set in their names and must not cross, which nothing checks
// here: the functions take pointers, sizes and plain structs. Sources have no globals with constructors,
// which would run before a set was chosen. No set has AVX512-BF16: precision::fast is exact there.
// examples/05_every_processor is a whole program.
#pragma once
#include "../core/error.hpp"

#include <cstdlib>
#include <string_view>
#include <vector>

// All that units of different instruction sets share is data.
struct mneme_function_table {
  const char* set;        // "x86-64-v3"
  const void* functions;  // the user's struct
};

// In a header, after the struct: declares <table>_tables, a mneme::function_tables<table>. <table> is a name
// without namespaces, of which the program has one.
#define MNEME_DECLARE_TABLES(table)                                  \
  extern "C" const mneme_function_table* const table##_table_list[]; \
  static constexpr ::mneme::function_tables<table> table##_tables { table##_table_list }

// In a source that mneme_add_dispatched builds: this unit's table, from the initialisers of the struct.
#define MNEME_DEFINE_TABLE(table, ...) MNEME_DEFINE_TABLE_OF(table, MNEME_UNIT_SUFFIX, __VA_ARGS__)
#define MNEME_DEFINE_TABLE_OF(table, suffix, ...) MNEME_DEFINE_TABLE_AS(table, suffix, __VA_ARGS__)
#define MNEME_DEFINE_TABLE_AS(table, suffix, ...)                                           \
  static_assert(::mneme::detail::unit_is(MNEME_UNIT_SET), "other -m flags than its set's"); \
  static constexpr table table##_of_this_unit = {__VA_ARGS__};                              \
  extern "C" const mneme_function_table table##_##suffix;                                   \
  constexpr mneme_function_table table##_##suffix = {MNEME_UNIT_SET, &table##_of_this_unit}
#if !defined(MNEME_UNIT_SET)
#define MNEME_UNIT_SET "base"
#define MNEME_UNIT_SUFFIX base
#endif

namespace mneme::inline MNEME_ABI {

namespace detail {
// Whether this unit may use the vectors of the set and nothing beyond that kernels ask for. (Sets:
// mneme_add_dispatched; base is whatever the compiler's flags say.)
constexpr bool unit_is(std::string_view set) {
#if defined(__AVX512BF16__)
  constexpr std::string_view widest = "more than x86-64-v4";
#elif defined(__AVX512F__)
  constexpr std::string_view widest = "x86-64-v4";
#elif defined(__AVX__)
  constexpr std::string_view widest = "x86-64-v3";
#elif defined(__SSE3__)
  constexpr std::string_view widest = "x86-64-v2";
#else
  constexpr std::string_view widest = "x86-64";
#endif
  return set == "base" || set == widest;
}
}  // namespace detail

// Whether this processor, under this operating system, runs code that was built for the set.
inline bool runs_here(std::string_view set) {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (set == "x86-64-v4") return __builtin_cpu_supports("x86-64-v4");
  if (set == "x86-64-v3") return __builtin_cpu_supports("x86-64-v3");
  if (set == "x86-64-v2") return __builtin_cpu_supports("x86-64-v2");
#endif
  return set == "x86-64" || set == "base";
}

// The functions of one instruction set.
template <class Table>
struct function_table {
  const char* set;
  const Table* functions;
  const Table* operator->() const { return functions; }
};

// The tables of a program, narrowest first.
template <class Table>
class function_tables {
 public:
  constexpr explicit function_tables(const mneme_function_table* const* list) : list_(list) {}

  // Those that this processor runs, narrowest first.
  std::vector<function_table<Table>> supported() const {
    std::vector<function_table<Table>> tables;
    for (auto entry = list_; *entry; ++entry)
      if (runs_here((*entry)->set))
        tables.push_back({(*entry)->set, static_cast<const Table*>((*entry)->functions)});
    return tables;
  }

  // The widest of them; or the one of the set `wanted`, unless that is null or empty. Errors: it is not among
  // them, or there are none.
  expected<function_table<Table>> best(const char* wanted = std::getenv("MNEME_INSTRUCTION_SET")) const {
    const auto tables = supported();
    if (wanted == nullptr || *wanted == '\0') {
      if (!tables.empty()) return tables.back();
      return message("this processor runs none of the instruction sets", names([](auto) { return true; }));
    }
    for (const auto& t : tables)
      if (std::string_view(t.set) == wanted) return t;
    const bool built = names([wanted](std::string_view set) { return set == wanted; }) != "";
    return message("instruction set ", wanted,
                   built ? " is beyond this processor" : " is not in this program", ", expected one of",
                   names(runs_here));
  }

 private:
  // " a b c", of the sets that hold.
  template <class F>
  std::string names(F&& holds) const {
    std::string all;
    for (auto entry = list_; *entry; ++entry)
      if (holds((*entry)->set)) all.append(" ").append((*entry)->set);
    return all;
  }
  const mneme_function_table* const* list_;  // ends with a null pointer
};

}  // namespace mneme::inline MNEME_ABI
