# SPDX-License-Identifier: Apache-2.0
# Serves the build and, installed beside the package config, find_package(mneme).
#
# mneme_xsimd_include_dir(<out> [<directory>...]): the first of the directories that holds xsimd, else the include
# directory of target xsimd, else NOTFOUND; <out>_VERSION is its version. Only the directory is taken: the target of
# Debian's 8.1 package links -lxtl, which does not exist. The version is checked here, because xsimd's own version file
# rejects newer majors.
function(mneme_xsimd_include_dir out)
  if(TARGET xsimd)
    get_target_property(of_target xsimd INTERFACE_INCLUDE_DIRECTORIES)
    string(REGEX REPLACE "\\$<BUILD_INTERFACE:([^>]*)>" "\\1" of_target "${of_target}")
    string(GENEX_STRIP "${of_target}" of_target)
  endif()
  find_path(found xsimd/xsimd.hpp PATHS ${ARGN} ${of_target} NO_DEFAULT_PATH NO_CACHE)
  if(found)
    file(STRINGS "${found}/xsimd/config/xsimd_config.hpp" lines REGEX "define XSIMD_VERSION_(MAJOR|MINOR|PATCH)")
    string(REGEX MATCHALL "[0-9]+" version "${lines}")
    list(JOIN version "." version)
    if(version VERSION_LESS 8.1)
      message(FATAL_ERROR "mneme: xsimd in ${found} has version ${version}, expected 8.1 or later")
    endif()
  endif()
  set(${out} "${found}" PARENT_SCOPE)
  set(${out}_VERSION "${version}" PARENT_SCOPE)
endfunction()
