# SPDX-License-Identifier: Apache-2.0
# The instruction set of our own programs; the library never sets one.
set(MNEME_TEST_ARCH native CACHE STRING "-march of tests, benchmarks and examples; empty: the compiler's default")
add_library(mneme_architecture INTERFACE)
if(MNEME_TEST_ARCH)
  target_compile_options(mneme_architecture INTERFACE -march=${MNEME_TEST_ARCH})
endif()
