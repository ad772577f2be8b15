# SPDX-License-Identifier: Apache-2.0
# One test per source that must not compile. Include it from tests/CMakeLists.txt.
file(GLOB sources CONFIGURE_DEPENDS "${CMAKE_CURRENT_LIST_DIR}/*.cpp")
set(flags "-I${PROJECT_SOURCE_DIR}/include" -DMNEME_NO_SIMD)
foreach(source IN LISTS sources)
  cmake_path(GET source STEM name)
  add_test(NAME "compile_fail: ${name}"
    COMMAND ${CMAKE_COMMAND} "-DCOMPILER=${CMAKE_CXX_COMPILER}" "-DFLAGS=${flags}" "-DSOURCE=${source}"
            -P "${CMAKE_CURRENT_LIST_DIR}/run.cmake"
  )
  set_tests_properties("compile_fail: ${name}" PROPERTIES LABELS compile_fail)
endforeach()
