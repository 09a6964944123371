# Hardening of what we ship (release builds): what Debian's hardening=+all sets, and a little more. Proved on the
# binary by tests/house. Sanitizer builds go without: the two do not mix.
add_library(errand_hardening INTERFACE)
if(NOT CMAKE_BUILD_TYPE STREQUAL "Debug" AND NOT ERRAND_SANITIZE)
  target_compile_options(errand_hardening INTERFACE -fstack-protector-strong -fstack-clash-protection
    -ftrivial-auto-var-init=zero -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3)
  target_compile_definitions(errand_hardening INTERFACE _GLIBCXX_ASSERTIONS)
  if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
    target_compile_options(errand_hardening INTERFACE -fcf-protection=full)
  endif()
  add_link_options($<$<STREQUAL:$<TARGET_PROPERTY:TYPE>,EXECUTABLE>:LINKER:-z,relro,-z,now,-z,noexecstack>)
endif()

# Executables are position independent too, not only compiled as if.
include(CheckPIESupported)
check_pie_supported()
