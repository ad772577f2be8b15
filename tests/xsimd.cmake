# SPDX-License-Identifier: Apache-2.0
# Further versions of xsimd than the one that all else is built with: the functions on packs, and an op. Version 14.1 comes inside a Python package:
#   pip download --no-deps pythran==0.19.0 && unzip pythran-0.19.0-*.whl 'pythran/xsimd/*'
#   cmake --preset default -DMNEME_TEST_XSIMD_DIRS=$PWD/pythran
# (To build everything with it: -DMNEME_XSIMD_INCLUDE_DIR=$PWD/pythran.)
set(MNEME_TEST_XSIMD_DIRS "" CACHE STRING "Directories that hold xsimd/xsimd.hpp of further versions to test with")
foreach(directory IN LISTS MNEME_TEST_XSIMD_DIRS)
  if(NOT EXISTS "${directory}/xsimd/xsimd.hpp")
    message(FATAL_ERROR "mneme: ${directory} of MNEME_TEST_XSIMD_DIRS does not hold xsimd/xsimd.hpp")
  endif()
  mneme_xsimd_include_dir(found "${directory}")
  set(target mneme_xsimd_${found_VERSION})
  add_executable(
    ${target} unit/math/activation_test.cpp unit/math/simd_test.cpp unit/math/topk_test.cpp unit/math/vector_test.cpp
              unit/op/rms_norm_test.cpp unit/op/op_laws.cpp
  )
  target_include_directories(${target} SYSTEM BEFORE PRIVATE "${found}")
  target_link_libraries(${target} PRIVATE mneme_test_base mneme_architecture mneme_test_main)
  target_compile_options(${target} PRIVATE -O1)
  catch_discover_tests(${target} TEST_PREFIX "xsimd ${found_VERSION}: " PROPERTIES LABELS unit TIMEOUT 300)
endforeach()
