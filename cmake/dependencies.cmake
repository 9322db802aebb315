# Every find_package of the core, once. apt.txt and vcpkg.json list the same packages. All that is missing is one error.
set(spinor_missing "")
macro(spinor_need debian_package found)
  if(NOT ${found})
    list(APPEND spinor_missing ${debian_package})
  endif()
endmacro()

find_package(Threads REQUIRED)
find_package(fmt QUIET)
spinor_need(libfmt-dev fmt_FOUND)
find_package(nlohmann_json 3.11 QUIET)
spinor_need(nlohmann-json3-dev nlohmann_json_FOUND)
find_package(yaml-cpp QUIET)
spinor_need(libyaml-cpp-dev yaml-cpp_FOUND)
find_package(hwy QUIET)
spinor_need(libhwy-dev hwy_FOUND)
if(PROJECT_NAME STREQUAL "spinor")  # what is installed needs it no more
  find_package(CLI11 QUIET)
  spinor_need(libcli11-dev CLI11_FOUND)
endif()

find_package(PkgConfig QUIET)
spinor_need(pkg-config PkgConfig_FOUND)
if(PkgConfig_FOUND)
  pkg_check_modules(pcre2 QUIET IMPORTED_TARGET libpcre2-8)
  pkg_check_modules(utf8proc QUIET IMPORTED_TARGET libutf8proc)
  pkg_check_modules(xxhash QUIET IMPORTED_TARGET libxxhash)
endif()
spinor_need(libpcre2-dev pcre2_FOUND)
spinor_need(libutf8proc-dev utf8proc_FOUND)
spinor_need(libxxhash-dev xxhash_FOUND)

if(spinor_missing)
  list(JOIN spinor_missing " " spinor_missing)
  message(FATAL_ERROR "spinor needs libraries that are not here. On Debian and Ubuntu:\n"
                      "  sudo apt-get install ${spinor_missing}\n"
                      "Elsewhere vcpkg.json names them.")
endif()

if(SPINOR_TORCH)
  include(${CMAKE_CURRENT_LIST_DIR}/torch.cmake)
endif()

if(SPINOR_DEVELOPER)
  find_package(GTest REQUIRED)
  find_package(benchmark REQUIRED)
  find_library(RAPIDCHECK NAMES rapidcheck REQUIRED)
endif()
