# SPDX-License-Identifier: Apache-2.0
# Warnings of our own programs; the library sets none.
option(MNEME_WERROR "Warnings are errors" OFF)
add_library(mneme_warnings INTERFACE)
target_compile_options(mneme_warnings INTERFACE -Wall -Wextra -Wconversion $<$<BOOL:${MNEME_WERROR}>:-Werror>)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  # gcc 12 sees overflows inside std::vector::insert that are not there.
  target_compile_options(mneme_warnings INTERFACE -Wno-stringop-overflow)
elseif(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  # libstdc++ 12 calls a deprecated function of its own in std::stable_sort, and clang blames the caller.
  target_compile_options(mneme_warnings INTERFACE -Wno-deprecated-declarations)
endif()
