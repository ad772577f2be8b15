# SPDX-License-Identifier: Apache-2.0
# A leg is one way to compile tests; several live in one build tree, so that one ctest run sums them up.
#   native       the machine's instruction set
#   scalar       MNEME_NO_SIMD, the compiler's default instruction set, assertions, -O1
#   asan         native with AddressSanitizer, UndefinedBehaviorSanitizer and assertions, -O0
#   asan_scalar  both
#   tsan         native with ThreadSanitizer
# -O2 would double the time that the middle two take to compile; preset `scalar` is the first with it.
# MNEME_QUICK_LEGS takes off what compiles longest: asan is without line numbers and its dearest check, undefined
# behaviour there ends in an illegal instruction (preset `asan` tells the place), units are built in batches, and ctest
# knows a program of units as one test.
# Preset `test` also compiles all else at -O1.
option(MNEME_QUICK_LEGS "Legs that compile quickly: see tests/legs.cmake" OFF)
function(mneme_add_leg leg)
  set(target mneme_leg_${leg})
  add_library(${target} INTERFACE)
  target_link_libraries(${target} INTERFACE mneme_test_base $<TARGET_NAME_IF_EXISTS:OpenMP::OpenMP_CXX>)
  if(leg MATCHES scalar)
    target_compile_definitions(${target} INTERFACE MNEME_NO_SIMD)
    target_compile_options(${target} INTERFACE -O1 -UNDEBUG)
  else()
    target_link_libraries(${target} INTERFACE mneme_architecture)
  endif()
  if(leg MATCHES asan)
    # Not asked for: what faults anyway (null), or costs much for little (vptr, object-size).
    set(unasked null,vptr,object-size)
    if(MNEME_QUICK_LEGS)
      set(flags -fno-sanitize=${unasked},pointer-overflow -fsanitize-undefined-trap-on-error)
    else()
      set(flags -fno-sanitize=${unasked} -fno-sanitize-recover=all)
    endif()
    list(PREPEND flags -fsanitize=address,undefined)
    target_compile_definitions(${target} INTERFACE _GLIBCXX_ASSERTIONS)
    target_compile_options(${target} INTERFACE -O0 $<IF:$<BOOL:${MNEME_QUICK_LEGS}>,-g0,-g1> -UNDEBUG ${flags})
    target_link_options(${target} INTERFACE ${flags})
  elseif(leg STREQUAL tsan)
    target_compile_options(${target} INTERFACE -O1 -g1 -fsanitize=thread)
    target_link_options(${target} INTERFACE -fsanitize=thread)
  endif()

  # One precompiled header per leg: it takes four seconds and saves one per source. gcc forgets the pragmas in it, with
  # which math/simd.hpp silences gcc's own intrinsics.
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    target_compile_options(${target} INTERFACE -Wno-uninitialized -Wno-maybe-uninitialized)
  endif()
  set(nothing "${CMAKE_CURRENT_BINARY_DIR}/nothing.cpp")
  file(CONFIGURE OUTPUT "${nothing}" CONTENT "")
  add_library(mneme_precompiled_${leg} OBJECT ${nothing})
  target_link_libraries(mneme_precompiled_${leg} PRIVATE ${target})
  target_precompile_headers(
    mneme_precompiled_${leg} PRIVATE "${CMAKE_CURRENT_SOURCE_DIR}/catch.hpp" <mneme/core/any_memory.hpp>
    <mneme/math/simd.hpp>
  )
endfunction()

# What all legs share.
add_library(mneme_test_base INTERFACE)
target_include_directories(mneme_test_base INTERFACE ${CMAKE_CURRENT_SOURCE_DIR})
target_compile_definitions(mneme_test_base INTERFACE MNEME_GOLDEN_DIR="${CMAKE_CURRENT_SOURCE_DIR}/golden")
target_link_libraries(mneme_test_base INTERFACE mneme::mneme mneme_warnings Catch2::Catch2 Threads::Threads)

# The main function of all programs: Catch2's, or for a foreign processor, of which its package has none, our own.
if(TARGET Catch2::Catch2WithMain AND NOT CMAKE_CROSSCOMPILING)
  add_library(mneme_test_main INTERFACE)
  target_link_libraries(mneme_test_main INTERFACE Catch2::Catch2WithMain)
else()
  add_library(mneme_test_main OBJECT main.cpp)
  target_link_libraries(mneme_test_main PRIVATE Catch2::Catch2)
  target_compile_features(mneme_test_main PRIVATE cxx_std_20)
  target_compile_options(mneme_test_main PRIVATE -O0)
endif()

# mneme_add_objects(<name> <leg> <source>...): object library mneme_<name>_<leg>.
function(mneme_add_objects name leg)
  set(target mneme_${name}_${leg})
  add_library(${target} OBJECT ${ARGN})
  target_link_libraries(${target} PRIVATE mneme_leg_${leg})
  target_precompile_headers(${target} REUSE_FROM mneme_precompiled_${leg})
endfunction()

# mneme_add_catch_program(<name> <leg> LABEL <label> SOURCES <source>... [OBJECTS <object library>...]):
# program mneme_<name>_<leg>, and one test per test case, "<leg> <name>: <case>".
function(mneme_add_catch_program name leg)
  cmake_parse_arguments(PARSE_ARGV 2 arg "" "LABEL" "SOURCES;OBJECTS")
  set(target mneme_${name}_${leg})
  add_executable(${target} ${arg_SOURCES})
  target_link_libraries(${target} PRIVATE mneme_leg_${leg} mneme_test_main ${arg_OBJECTS})
  target_precompile_headers(${target} REUSE_FROM mneme_precompiled_${leg})
  if(MNEME_QUICK_LEGS AND arg_LABEL STREQUAL unit) # a process for each of 900 cases takes longer than the cases
    add_test(NAME "${leg} ${name}" COMMAND ${target})
    set_tests_properties("${leg} ${name}" PROPERTIES LABELS ${arg_LABEL} TIMEOUT 300)
  else()
    catch_discover_tests(${target} TEST_PREFIX "${leg} ${name}: " PROPERTIES LABELS ${arg_LABEL} TIMEOUT 300)
  endif()
endfunction()
