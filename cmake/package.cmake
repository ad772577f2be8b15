# SPDX-License-Identifier: Apache-2.0
# Installation: the headers and find_package(mneme).
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
        cmake/xsimd.cmake
  DESTINATION "${package_dir}"
)
