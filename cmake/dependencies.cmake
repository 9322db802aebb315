# Every find_package of the core, once. apt.txt and vcpkg.json list the same packages.
find_package(Threads REQUIRED)
find_package(fmt REQUIRED)
find_package(nlohmann_json 3.11 REQUIRED)
find_package(yaml-cpp REQUIRED)
find_package(hwy REQUIRED)

find_package(PkgConfig REQUIRED)
pkg_check_modules(pcre2 REQUIRED IMPORTED_TARGET libpcre2-8)
pkg_check_modules(utf8proc REQUIRED IMPORTED_TARGET libutf8proc)
pkg_check_modules(xxhash REQUIRED IMPORTED_TARGET libxxhash)

if(SPINOR_TORCH)
  include(${CMAKE_CURRENT_LIST_DIR}/torch.cmake)
endif()

if(SPINOR_DEVELOPER)
  find_package(GTest REQUIRED)
  find_package(benchmark REQUIRED)
  find_library(RAPIDCHECK NAMES rapidcheck REQUIRED)
endif()
