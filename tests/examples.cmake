# SPDX-License-Identifier: Apache-2.0
# Tests of the demonstrator.

# Units: with unit/examples/<stem>_test.cpp, examples/stream/<stem>.cpp is linked if there is one. MNEME_STREAM is the
# path of the program.
file(GLOB tests CONFIGURE_DEPENDS unit/examples/*.cpp)
set(sources ${tests})
foreach(test IN LISTS tests)
  cmake_path(GET test STEM stem)
  string(REGEX REPLACE "_test$" ".cpp" part "${PROJECT_SOURCE_DIR}/examples/stream/${stem}")
  if(EXISTS "${part}")
    list(APPEND sources "${part}")
  endif()
endforeach()
foreach(leg IN ITEMS ${main_unit_leg})
  mneme_add_catch_program(unit_examples ${leg} LABEL unit SOURCES ${sources})
  target_link_libraries(mneme_unit_examples_${leg} PRIVATE mneme_plot PkgConfig::PCRE2 nlohmann_json::nlohmann_json)
  target_compile_definitions(mneme_unit_examples_${leg} PRIVATE MNEME_STREAM="$<TARGET_FILE:mneme-stream>")
  add_dependencies(mneme_unit_examples_${leg} mneme-stream)
endforeach()

# With the model: each gets its path in the environment variable MNEME_MODEL and is reported as skipped where no file
# is there.
if(DEFINED ENV{MNEME_MODEL_DIR})
  set(folder "$ENV{MNEME_MODEL_DIR}")
elseif(DEFINED ENV{XDG_CACHE_HOME})
  set(folder "$ENV{XDG_CACHE_HOME}/mneme")
else()
  set(folder "$ENV{HOME}/.cache/mneme")
endif()
set(MNEME_MODEL "${folder}/SmolLM2-135M-Instruct.Q4_1.gguf" CACHE FILEPATH
    "The demonstrator's model, as `sh cmake/bootstrap.sh model` leaves it")

# mneme_add_model_test(<name> <command>...)
function(mneme_add_model_test name)
  add_test(NAME "model: ${name}" COMMAND sh "${CMAKE_CURRENT_SOURCE_DIR}/model/with_model.sh" ${ARGN})
  set_tests_properties(
    "model: ${name}" PROPERTIES LABELS model COST 1000 TIMEOUT 600 SKIP_RETURN_CODE 77 ENVIRONMENT "MNEME_MODEL=${MNEME_MODEL}"
  )
endfunction()

file(GLOB sources CONFIGURE_DEPENDS model/*_test.cpp)
foreach(source IN LISTS sources)
  cmake_path(GET source STEM name)
  string(REGEX REPLACE "_test$" "" name "${name}")
  add_executable(mneme_model_${name} ${source})
  target_link_libraries(mneme_model_${name} PRIVATE mneme_test_base mneme_test_main mneme_stream_parts)
  mneme_add_model_test(${name} $<TARGET_FILE:mneme_model_${name}>)
endforeach()
