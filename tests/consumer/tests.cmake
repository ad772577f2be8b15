# SPDX-License-Identifier: Apache-2.0
# A foreign project uses the library in every way that README promises; each builds from nothing and runs.
set(install_prefix "${CMAKE_CURRENT_BINARY_DIR}/consumer/prefix")
add_test(NAME "consumer: install" COMMAND ${CMAKE_COMMAND} --install "${PROJECT_BINARY_DIR}" --prefix "${install_prefix}")
set_tests_properties("consumer: install" PROPERTIES LABELS consumer FIXTURES_SETUP installed)

function(mneme_add_consumer_test name use)
  add_test(
    NAME "consumer: ${name}"
    COMMAND
      ${CMAKE_CTEST_COMMAND} --build-and-test "${CMAKE_CURRENT_SOURCE_DIR}/consumer"
      "${CMAKE_CURRENT_BINARY_DIR}/consumer/${name}" --build-generator "${CMAKE_GENERATOR}" --build-project consumer
      --build-options -DUSE=${use} "-DMNEME_SOURCE=${PROJECT_SOURCE_DIR}" -DMNEME_VERSION=${PROJECT_VERSION}
      "-DCMAKE_PREFIX_PATH=${install_prefix}" "-DCMAKE_CXX_COMPILER=${CMAKE_CXX_COMPILER}" ${ARGN} --test-command consumer
  )
  set_tests_properties("consumer: ${name}" PROPERTIES LABELS consumer TIMEOUT 120)
endfunction()
set(warnings "-DCMAKE_CXX_FLAGS=-Wall -Wextra -Wconversion -Werror")
mneme_add_consumer_test(add_subdirectory add_subdirectory ${warnings})
if(xsimd_FOUND)
  set_tests_properties("consumer: add_subdirectory" PROPERTIES FAIL_REGULAR_EXPRESSION "xsimd is not installed")
endif()
mneme_add_consumer_test(FetchContent FetchContent)
mneme_add_consumer_test(find_package find_package)
mneme_add_consumer_test("without exceptions" find_package "-DCMAKE_CXX_FLAGS=-fno-exceptions -fno-rtti")
set_tests_properties("consumer: find_package" "consumer: without exceptions" PROPERTIES FIXTURES_REQUIRED installed)

# pkg-config finds xsimd only where its package is installed.
find_program(MNEME_PKG_CONFIG pkg-config)
if(MNEME_PKG_CONFIG)
  execute_process(COMMAND ${MNEME_PKG_CONFIG} --exists xsimd RESULT_VARIABLE no_xsimd)
  if(MNEME_NO_SIMD OR NOT no_xsimd)
    add_test(
      NAME "consumer: pkg-config"
      COMMAND sh "${CMAKE_CURRENT_SOURCE_DIR}/consumer/pkg_config.sh" "${CMAKE_CXX_COMPILER}" "${install_prefix}"
              ${PROJECT_VERSION} "${CMAKE_CURRENT_SOURCE_DIR}/consumer/main.cpp"
              "${CMAKE_CURRENT_BINARY_DIR}/consumer/with_pkg_config"
    )
    set_tests_properties("consumer: pkg-config" PROPERTIES LABELS consumer TIMEOUT 120 FIXTURES_REQUIRED installed)
  endif()
endif()

# README's first program over the single header alone, without exceptions and run-time types.
if(TARGET mneme_single_header)
  set(page "${PROJECT_SOURCE_DIR}/README.md")
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${page}")
  file(READ "${page}" text)
  set(fence "```cpp\n")
  string(FIND "${text}" "${fence}" begin)
  string(SUBSTRING "${text}" ${begin} -1 text)
  string(FIND "${text}" "\n```" end)
  string(SUBSTRING "${text}" 0 ${end} text)
  string(REPLACE "${fence}" "" text "${text}\n")
  string(REPLACE "<mneme/mneme.hpp>" "\"mneme_single.hpp\"" text "${text}")
  set(program "${CMAKE_CURRENT_BINARY_DIR}/consumer/single_header.cpp")
  file(CONFIGURE OUTPUT "${program}" CONTENT "${text}" @ONLY)
  add_executable(mneme_consumer_single_header "${program}")
  add_dependencies(mneme_consumer_single_header mneme_single_header)
  set_property(SOURCE "${program}" APPEND PROPERTY OBJECT_DEPENDS "${MNEME_SINGLE_HEADER}")
  target_include_directories(mneme_consumer_single_header PRIVATE "${PROJECT_BINARY_DIR}/single_header")
  target_link_libraries(mneme_consumer_single_header PRIVATE mneme_warnings)
  target_compile_features(mneme_consumer_single_header PRIVATE cxx_std_20)
  target_compile_options(mneme_consumer_single_header PRIVATE -O1 -fno-exceptions -fno-rtti)
  if(MNEME_NO_SIMD)
    target_compile_definitions(mneme_consumer_single_header PRIVATE MNEME_NO_SIMD)
  else()
    target_include_directories(mneme_consumer_single_header SYSTEM PRIVATE "${MNEME_XSIMD_INCLUDE_DIR}")
  endif()
  add_test(NAME "consumer: single header" COMMAND mneme_consumer_single_header)
  set_tests_properties("consumer: single header" PROPERTIES LABELS consumer TIMEOUT 60)
endif()
