# SPDX-License-Identifier: Apache-2.0
# Run-time dispatch: one model, built for every instruction set by mneme_add_dispatched.
add_executable(mneme_dispatch dispatch/main.cpp)
target_include_directories(mneme_dispatch PRIVATE ${CMAKE_CURRENT_SOURCE_DIR})
target_link_libraries(mneme_dispatch PRIVATE mneme::mneme mneme_warnings)
target_compile_options(mneme_dispatch PRIVATE $<IF:$<BOOL:${MNEME_QUICK_LEGS}>,-O0,-O1>)
mneme_add_dispatched(mneme_dispatch TABLE dispatch_model SOURCES dispatch/model.cpp)
add_test(NAME "dispatch: every set" COMMAND mneme_dispatch)
set_tests_properties("dispatch: every set" PROPERTIES LABELS dispatch)
if(NOT TARGET mneme_dispatch_dispatch_model_x86_64_v4 OR NOT CMAKE_OBJDUMP)
  return()
endif()
set(objects mneme_dispatch_dispatch_model_x86_64)

# No wide code under a name that plain code may call, none that runs before a set was chosen.
set(disassembly "${Python3_EXECUTABLE}" "${CMAKE_CURRENT_SOURCE_DIR}/odr/disassembly.py" "${CMAKE_NM}"
                "${CMAKE_OBJDUMP}"
)
add_test(NAME "dispatch: disassembled" COMMAND ${disassembly} $<TARGET_FILE:mneme_dispatch>)
add_test(NAME "dispatch: no code before main"
         COMMAND sh -c "h=$(\"$0\" -h \"$@\") && echo \"$h\" | grep -q text && ! echo \"$h\" | grep -E 'init_array|ctors'"
                 "${CMAKE_OBJDUMP}" $<TARGET_OBJECTS:${objects}_v3> $<TARGET_OBJECTS:${objects}_v4> COMMAND_EXPAND_LISTS
)
# The control: the same copies, linked as they are and widest first. The disassembly must find what they share.
get_target_property(sources mneme_dispatch SOURCES)
list(FILTER sources INCLUDE REGEX "\\.cpp$")
add_executable(
  mneme_dispatch_unhidden ${sources} $<TARGET_OBJECTS:${objects}_v4> $<TARGET_OBJECTS:${objects}_v3>
                          $<TARGET_OBJECTS:${objects}>
)
target_include_directories(mneme_dispatch_unhidden PRIVATE ${CMAKE_CURRENT_SOURCE_DIR})
target_link_libraries(mneme_dispatch_unhidden PRIVATE mneme::mneme)
add_test(NAME "dispatch: not hidden, disassembled" COMMAND ${disassembly} $<TARGET_FILE:mneme_dispatch_unhidden>)
set_tests_properties(
  "dispatch: not hidden, disassembled" PROPERTIES PASS_REGULAR_EXPRESSION "untagged[^ ]*: [0-9]+ AVX"
)
set_tests_properties(
  "dispatch: disassembled" "dispatch: no code before main" "dispatch: not hidden, disassembled" PROPERTIES LABELS
                                                                                                         dispatch
)

# Processors of the past, emulated.
find_program(MNEME_QEMU_X86_64 NAMES qemu-x86_64-static qemu-x86_64)
if(MNEME_QEMU_X86_64)
  foreach(processor IN ITEMS "qemu64 x86-64" "Haswell x86-64-v3")
    string(REPLACE " " ";" processor "${processor}")
    list(POP_FRONT processor model set)
    set(name "dispatch: on a processor like ${model}")
    add_test(NAME "${name}" COMMAND "${MNEME_QEMU_X86_64}" -cpu ${model} $<TARGET_FILE:mneme_dispatch>)
    set_tests_properties(
      "${name}" PROPERTIES LABELS dispatch FAIL_REGULAR_EXPRESSION FAILED PASS_REGULAR_EXPRESSION "best: ${set}\n"
    )
  endforeach()
endif()
