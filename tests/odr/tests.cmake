# SPDX-License-Identifier: Apache-2.0
# Units of three instruction sets in one program: see odr/README.md.
if(NOT CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64" OR NOT CMAKE_CXX_COMPILER_ID MATCHES "GNU|Clang"
   OR NOT CMAKE_OBJDUMP
)
  return()
endif()
set(march_of_base x86-64)
set(march_of_avx2 x86-64-v3)
set(march_of_avx512 x86-64-v4)
set(also_avx512_unit odr/files.cpp)
foreach(source IN ITEMS unit planted)
  foreach(set IN ITEMS base avx2 avx512)
    set(objects mneme_odr_${source}_${set})
    add_library(${objects} OBJECT odr/${source}.cpp ${also_${set}_${source}})
    target_link_libraries(${objects} PRIVATE mneme::mneme mneme_warnings)
    target_compile_definitions(${objects} PRIVATE MNEME_ODR_UNIT=run_${set})
    target_compile_options(${objects} PRIVATE -O2 -march=${march_of_${set}})
  endforeach()
endforeach()

# mneme_add_odr_test(<source> <instruction set>...): linked in this order.
function(mneme_add_odr_test source)
  list(JOIN ARGN "_" order)
  set(target mneme_odr_${source}_${order})
  list(TRANSFORM ARGN REPLACE "(.+)" "$<TARGET_OBJECTS:mneme_odr_${source}_\\1>" OUTPUT_VARIABLE objects)
  add_executable(${target} odr/main.cpp ${objects})
  list(JOIN ARGN " " order)
  add_test(NAME "odr: ${source} ${order}" COMMAND ${target})
  add_test(
    NAME "odr: ${source} ${order}, disassembled"
    COMMAND "${Python3_EXECUTABLE}" "${CMAKE_CURRENT_SOURCE_DIR}/odr/disassembly.py" "${CMAKE_NM}" "${CMAKE_OBJDUMP}"
            $<TARGET_FILE:${target}>
  )
  set_tests_properties("odr: ${source} ${order}" "odr: ${source} ${order}, disassembled" PROPERTIES LABELS odr)
endfunction()
mneme_add_odr_test(unit base avx2 avx512)
mneme_add_odr_test(unit avx512 avx2 base)
mneme_add_odr_test(unit avx2 avx512 base)
mneme_add_odr_test(planted avx512 avx2 base)
set_tests_properties(
  "odr: planted avx512 avx2 base, disassembled" PROPERTIES PASS_REGULAR_EXPRESSION "untagged[^ ]*: [0-9]+ AVX"
)
