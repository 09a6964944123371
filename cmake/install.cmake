# find_package(errand) and pkg-config: see tests/install for the outside programs that prove both.
include(CMakePackageConfigHelpers)

install(TARGETS errand EXPORT errand ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(TARGETS errand_program RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(DIRECTORY include/errand DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.hpp" PATTERN "*.ipp")
install(FILES LICENSE README.md CHANGELOG.md packaging/errand.service DESTINATION ${CMAKE_INSTALL_DOCDIR})

set(errand_cmake_dir ${CMAKE_INSTALL_LIBDIR}/cmake/errand)
install(EXPORT errand NAMESPACE errand:: DESTINATION ${errand_cmake_dir} FILE errandTargets.cmake)
configure_package_config_file(cmake/errandConfig.cmake.in ${PROJECT_BINARY_DIR}/errandConfig.cmake
  INSTALL_DESTINATION ${errand_cmake_dir})
# Before 1.0 a minor version may change the interface.
write_basic_package_version_file(${PROJECT_BINARY_DIR}/errandConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/errandConfig.cmake ${PROJECT_BINARY_DIR}/errandConfigVersion.cmake
  DESTINATION ${errand_cmake_dir})

# Relative to the file's own place, so that an installed tree can be moved (and installed below a DESTDIR).
file(RELATIVE_PATH ERRAND_PC_PREFIX /x/${CMAKE_INSTALL_LIBDIR}/pkgconfig /x)
string(REGEX REPLACE "/$" "" ERRAND_PC_PREFIX "${ERRAND_PC_PREFIX}")
configure_file(cmake/errand.pc.in ${PROJECT_BINARY_DIR}/errand.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/errand.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
