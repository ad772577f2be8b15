# SPDX-License-Identifier: Apache-2.0
# Installation: the headers, find_package(mneme) and pkg-config's mneme.pc; the library as a single header.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(package_dir "${CMAKE_INSTALL_DATADIR}/cmake/mneme")
install(TARGETS mneme EXPORT mneme-targets FILE_SET HEADERS)
install(EXPORT mneme-targets NAMESPACE mneme:: DESTINATION "${package_dir}")
configure_package_config_file(
  cmake/mneme-config.cmake.in mneme-config.cmake INSTALL_DESTINATION "${package_dir}" NO_SET_AND_CHECK_MACRO
)
write_basic_package_version_file(mneme-config-version.cmake COMPATIBILITY SameMinorVersion ARCH_INDEPENDENT)
install(
  FILES "${PROJECT_BINARY_DIR}/mneme-config.cmake" "${PROJECT_BINARY_DIR}/mneme-config-version.cmake"
        cmake/dispatched.cmake cmake/xsimd.cmake
  DESTINATION "${package_dir}"
)

# pkg-config: xsimd comes as its own package there.
set(pc_dir "${CMAKE_INSTALL_DATADIR}/pkgconfig")
if(IS_ABSOLUTE "${pc_dir}")
  set(pc_prefix "${CMAKE_INSTALL_PREFIX}")
else()
  file(RELATIVE_PATH pc_prefix "/${pc_dir}" "/")
  string(REGEX REPLACE "/$" "" pc_prefix "\${pcfiledir}/${pc_prefix}")
endif()
set(pc_include "${CMAKE_INSTALL_INCLUDEDIR}")
if(NOT IS_ABSOLUTE "${pc_include}")
  string(PREPEND pc_include "\${prefix}/")
endif()
if(MNEME_NO_SIMD)
  set(pc_flags " -DMNEME_NO_SIMD")
else()
  set(pc_requires "xsimd >= 8.1")
endif()
configure_file(cmake/mneme.pc.in mneme.pc @ONLY)
install(FILES "${PROJECT_BINARY_DIR}/mneme.pc" DESTINATION "${pc_dir}")

# cmake --build build/default --target mneme_single_header: writes single_header/mneme_single.hpp.
if(PROJECT_IS_TOP_LEVEL)
  find_package(Python3 QUIET COMPONENTS Interpreter)
endif()
if(PROJECT_IS_TOP_LEVEL AND Python3_FOUND)
  set(MNEME_SINGLE_HEADER "${PROJECT_BINARY_DIR}/single_header/mneme_single.hpp")
  add_custom_command(
    OUTPUT "${MNEME_SINGLE_HEADER}"
    COMMAND "${Python3_EXECUTABLE}" "${PROJECT_SOURCE_DIR}/cmake/single_header.py" "${PROJECT_SOURCE_DIR}/include"
            "${MNEME_SINGLE_HEADER}" mneme/mneme.hpp mneme/io/gguf.hpp mneme/io/safetensors.hpp mneme/io/state_file.hpp
    DEPENDS cmake/single_header.py ${MNEME_HEADERS}
  )
  add_custom_target(mneme_single_header DEPENDS "${MNEME_SINGLE_HEADER}")
endif()
