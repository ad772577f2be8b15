# SPDX-License-Identifier: Apache-2.0
# cmake -DCOMPILER=<c++> -DFLAGS=<list> -DSOURCE=<file.cpp> -P run.cmake
# The source must not compile, and the compiler must say what the line "// expect: <regex>" in it says. With
# MNEME_CONTROL defined, which mends the one mistake, it must compile: so that it fails for no other reason.
set(command "${COMPILER}" -std=c++20 -fsyntax-only ${FLAGS} "${SOURCE}")
execute_process(COMMAND ${command} -DMNEME_CONTROL RESULT_VARIABLE failed ERROR_VARIABLE errors OUTPUT_QUIET)
if(failed)
  message(FATAL_ERROR "does not compile even without its mistake:\n${errors}")
endif()
execute_process(COMMAND ${command} RESULT_VARIABLE failed ERROR_VARIABLE errors OUTPUT_QUIET)
if(NOT failed)
  message(FATAL_ERROR "${SOURCE} compiles, and must not")
endif()
file(STRINGS "${SOURCE}" expectation REGEX "^// expect: ")
string(REGEX REPLACE "^// expect: " "" expectation "${expectation}")
if(expectation STREQUAL "" OR NOT errors MATCHES "${expectation}")
  message(FATAL_ERROR "expected the compiler to say \"${expectation}\", it says:\n${errors}")
endif()
