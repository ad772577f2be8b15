# SPDX-License-Identifier: Apache-2.0
# The library needs xsimd and nothing else. It is, in this order: MNEME_XSIMD_INCLUDE_DIR, the xsimd of the surrounding
# project, the installed package, a download.
include("${CMAKE_CURRENT_LIST_DIR}/xsimd.cmake")

set(MNEME_XSIMD_INCLUDE_DIR "" CACHE PATH "Directory that holds xsimd/xsimd.hpp; empty: find it")
if(MNEME_NO_SIMD)
  # nothing to find
elseif(MNEME_XSIMD_INCLUDE_DIR)
  mneme_xsimd_include_dir(MNEME_XSIMD_INCLUDE_DIR "${MNEME_XSIMD_INCLUDE_DIR}")
else()
  if(NOT TARGET xsimd)
    find_package(xsimd QUIET CONFIG)
    if(NOT xsimd_FOUND)
      message(STATUS "mneme: xsimd is not installed (Debian: libxsimd-dev), it is downloaded")
    endif()
    include(FetchContent)
    FetchContent_Declare(
      xsimd
      URL https://github.com/xtensor-stack/xsimd/archive/refs/tags/14.1.0.tar.gz
      URL_HASH SHA256=8da77b66214e73565f6111ba494322c853552b7b40cff69779b42e2100eed16f
      SOURCE_SUBDIR headers-only # no such directory: the archive is unpacked, its CMakeLists.txt is not run
      FIND_PACKAGE_ARGS CONFIG
    )
    FetchContent_MakeAvailable(xsimd)
    if(xsimd_SOURCE_DIR)
      set(downloaded "${xsimd_SOURCE_DIR}/include")
    endif()
  endif()
  mneme_xsimd_include_dir(MNEME_XSIMD_INCLUDE_DIR ${downloaded})
endif()
if(NOT MNEME_NO_SIMD AND NOT MNEME_XSIMD_INCLUDE_DIR)
  message(FATAL_ERROR "mneme: no xsimd found. Install it (Debian: libxsimd-dev), or build with -DMNEME_NO_SIMD=ON.")
endif()

# mneme_require(<package> <Debian package> [<argument of find_package>...]): what tests, benchmarks and examples need.
macro(mneme_require package debian)
  find_package(${package} QUIET ${ARGN})
  if(NOT ${package}_FOUND)
    message(FATAL_ERROR "mneme: ${package} not found. Install it (Debian: ${debian}), or switch off what needs it "
                        "(MNEME_BUILD_TESTS, MNEME_BUILD_BENCH, MNEME_BUILD_EXAMPLES).")
  endif()
endmacro()
