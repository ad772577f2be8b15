# SPDX-License-Identifier: Apache-2.0
# Compiles through ccache where it is found and nobody chose another launcher.
if(PROJECT_IS_TOP_LEVEL AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  find_program(MNEME_CCACHE ccache)
  if(MNEME_CCACHE)
    # ccache takes -march=native as a word: what it means on this machine keeps the objects of different machines apart.
    execute_process(
      COMMAND "${CMAKE_CXX_COMPILER}" -march=native -dM -E -x c++ /dev/null
      OUTPUT_VARIABLE machine
      ERROR_QUIET
    )
    string(MD5 machine "${machine}")
    # The sloppiness is what precompiled headers need. From nothing, CCACHE_DEPEND spares a run of the preprocessor per
    # source: what it includes is read from the compiler's own list.
    set(CMAKE_CXX_COMPILER_LAUNCHER
        "${CMAKE_COMMAND}" -E env CCACHE_NAMESPACE=${machine} CCACHE_SLOPPINESS=pch_defines,time_macros
        CCACHE_DEPEND=1 "${MNEME_CCACHE}"
    )
  endif()
endif()
