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
mneme_add_consumer_test(FetchContent FetchContent)
mneme_add_consumer_test(find_package find_package)
mneme_add_consumer_test("without exceptions" find_package "-DCMAKE_CXX_FLAGS=-fno-exceptions -fno-rtti")
set_tests_properties("consumer: find_package" "consumer: without exceptions" PROPERTIES FIXTURES_REQUIRED installed)
