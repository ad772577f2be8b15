# SPDX-License-Identifier: Apache-2.0
# One program for every processor. Serves the build and, installed beside the package config, find_package(mneme).
#
# mneme_add_dispatched(<target> TABLE <name> SOURCES <source>... [SETS <set>...])
#
# Builds the sources once per instruction set and links all copies into the target. They define a table of functions,
# MNEME_DEFINE_TABLE(<name>, ...), and the program takes the best at run time, <name>_tables.best():
# mneme/backend/function_table.hpp. Sets are x86-64, x86-64-v2, x86-64-v3 and x86-64-v4, by default all but v2. For
# other processors the sources are built once, as set `base`, and SETS are ignored.
#
# The sources see the include directories, definitions and options of the target (its -march too, which that of the set
# overrides). Of a copy the rest of the program sees the table alone: of an inline function, a std::vector's say, the
# linker keeps one for the whole program, and that might be the one for AVX-512. Hiding takes GNU ld and an objcopy.
function(mneme_add_dispatched target)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "TABLE" "SOURCES;SETS")
  if(NOT TARGET ${target} OR NOT arg_TABLE OR NOT arg_SOURCES OR arg_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "expected mneme_add_dispatched(<target> TABLE <name> SOURCES <source>... [SETS <set>...])")
  endif()
  get_target_property(directory ${target} SOURCE_DIR)
  if(NOT directory STREQUAL CMAKE_CURRENT_SOURCE_DIR) # whose custom commands it would not see
    message(FATAL_ERROR "mneme_add_dispatched(${target}): expected in the directory of the target, ${directory}")
  endif()
  if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|amd64|AMD64)$" AND CMAKE_CXX_COMPILER_ID MATCHES "GNU|Clang")
    set(known x86-64 x86-64-v2 x86-64-v3 x86-64-v4)
    if(NOT arg_SETS)
      set(arg_SETS x86-64 x86-64-v3 x86-64-v4)
    endif()
  else()
    set(known base)
    set(arg_SETS base)
  endif()
  list(REMOVE_DUPLICATES arg_SETS)
  list(SORT arg_SETS) # narrowest first
  list(LENGTH arg_SETS copies)
  if(copies GREATER 1)
    find_program(MNEME_LD NAMES x86_64-linux-gnu-ld.bfd ld.bfd ld DOC "GNU ld, which joins and hides copies")
    execute_process(COMMAND "${MNEME_LD}" --help OUTPUT_VARIABLE help ERROR_QUIET)
    if(NOT CMAKE_OBJCOPY OR NOT help MATCHES "--force-group-allocation")
      message(FATAL_ERROR "mneme_add_dispatched: no objcopy, or '${MNEME_LD}' knows no --force-group-allocation, and "
                          "both keep the copies apart. Install GNU binutils, or ask for one of the SETS.")
    endif()
  endif()

  set(declarations "")
  set(list "")
  set(hidden "")
  foreach(set IN LISTS arg_SETS)
    if(NOT set IN_LIST known)
      message(FATAL_ERROR "mneme_add_dispatched: the set is '${set}', expected one of ${known}")
    endif()
    string(MAKE_C_IDENTIFIER "${set}" suffix)
    set(objects ${target}_${arg_TABLE}_${suffix})
    add_library(${objects} OBJECT ${arg_SOURCES})
    foreach(property IN ITEMS INCLUDE_DIRECTORIES COMPILE_DEFINITIONS COMPILE_OPTIONS COMPILE_FEATURES)
      set_property(TARGET ${objects} APPEND PROPERTY ${property} "$<TARGET_PROPERTY:${target},${property}>")
    endforeach()
    foreach(property IN ITEMS CXX_STANDARD CXX_EXTENSIONS POSITION_INDEPENDENT_CODE)
      get_target_property(value ${target} ${property})
      if(NOT value MATCHES "NOTFOUND")
        set_property(TARGET ${objects} PROPERTY ${property} ${value})
      endif()
    endforeach()
    target_link_libraries(${objects} PRIVATE mneme::mneme)
    target_compile_definitions(${objects} PRIVATE MNEME_UNIT_SET="${set}" MNEME_UNIT_SUFFIX=${suffix})
    if(NOT set STREQUAL "base")
      # Link-time optimisation, and symbols unique to a whole process, would join again what is kept apart.
      target_compile_options(
        ${objects} PRIVATE -march=${set} -fno-lto $<$<CXX_COMPILER_ID:GNU>:-fno-gnu-unique>
      )
    endif()
    if(copies GREATER 1)
      get_property(several_configurations GLOBAL PROPERTY GENERATOR_IS_MULTI_CONFIG)
      set(copy "${CMAKE_CURRENT_BINARY_DIR}/${objects}$<$<BOOL:${several_configurations}>:_$<CONFIG>>.o")
      add_custom_command(
        OUTPUT "${copy}"
        COMMAND "${MNEME_LD}" -r --force-group-allocation -o "${copy}" $<TARGET_OBJECTS:${objects}>
        COMMAND "${CMAKE_OBJCOPY}" --keep-global-symbol=${arg_TABLE}_${suffix} "${copy}"
        DEPENDS $<TARGET_OBJECTS:${objects}>
        COMMENT "Hiding all of ${objects} but its table"
        COMMAND_EXPAND_LISTS VERBATIM
      )
      list(APPEND hidden "${copy}")
    else()
      list(APPEND hidden $<TARGET_OBJECTS:${objects}>)
    endif()
    string(APPEND declarations "extern \"C\" const mneme_function_table ${arg_TABLE}_${suffix};\n")
    string(APPEND list "&${arg_TABLE}_${suffix}, ")
  endforeach()

  set(source "${CMAKE_CURRENT_BINARY_DIR}/${target}_${arg_TABLE}_tables.cpp")
  set(name "${arg_TABLE}_table_list")
  file(
    CONFIGURE OUTPUT "${source}"
    CONTENT "#include <mneme/backend/function_table.hpp>\n
${declarations}extern \"C\" const mneme_function_table* const ${name}[];
const mneme_function_table* const ${name}[] = {${list}nullptr};\n"
    @ONLY
  )
  target_sources(${target} PRIVATE "${source}" ${hidden})
endfunction()
