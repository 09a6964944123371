# Warnings (and hardening, see hardening.cmake) for our own targets, as an interface target so that nothing leaks to users.
add_library(errand_warnings INTERFACE)
target_compile_options(errand_warnings INTERFACE -Wall -Wextra -Wpedantic -Wshadow -Wnon-virtual-dtor
  -Wold-style-cast -Woverloaded-virtual -Wconversion -Wno-sign-conversion)
if(ERRAND_WERROR)
  target_compile_options(errand_warnings INTERFACE -Werror)
endif()
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # GCC 12 reports std::string's own small-buffer code at -O2 (GCC bug 105329, 105651); there is nothing to fix in our code.
  target_compile_options(errand_warnings INTERFACE -Wno-restrict -Wno-maybe-uninitialized -Wno-missing-field-initializers)
else()
  target_compile_options(errand_warnings INTERFACE -Wno-missing-field-initializers -Wno-missing-designated-field-initializers)
endif()
target_link_libraries(errand_warnings INTERFACE errand_hardening)
target_compile_definitions(errand_warnings INTERFACE $<$<CONFIG:Debug>:_GLIBCXX_ASSERTIONS>)

if(ERRAND_SANITIZE)
  # A report ends the program: one that goes on may end with success.
  add_compile_options(-fsanitize=${ERRAND_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  add_link_options(-fsanitize=${ERRAND_SANITIZE})
endif()
