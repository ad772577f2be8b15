# SPDX-License-Identifier: Apache-2.0
# The umbrella names every header that models are built of.
cmake_minimum_required(VERSION 3.25)
set(root "${CMAKE_CURRENT_LIST_DIR}/../../include/mneme")
file(READ "${root}/mneme.hpp" umbrella)
file(GLOB_RECURSE headers RELATIVE "${root}" "${root}/*.hpp")
foreach(header IN LISTS headers)
  if(header MATCHES "^(core|evict|layer|memory|store)/" AND NOT header MATCHES "/detail/"
     AND NOT umbrella MATCHES "#include \"${header}\""
  )
    message(SEND_ERROR "include/mneme/mneme.hpp does not include \"${header}\"")
  endif()
endforeach()
