# Every find_package of the core, once. apt.txt and vcpkg.json list the same packages.
find_package(Threads REQUIRED)
find_package(fmt REQUIRED)
find_package(nlohmann_json 3.11 REQUIRED)
find_package(yaml-cpp REQUIRED)
find_package(hwy REQUIRED)

find_package(PkgConfig REQUIRED)
pkg_check_modules(pcre2 REQUIRED IMPORTED_TARGET libpcre2-8)
pkg_check_modules(xxhash REQUIRED IMPORTED_TARGET libxxhash)

# Dense products. The serial build, linked statically: threads are ours (one tile, one thread), and a process that also
# loads libtorch, which exports its own dgemm_, keeps calling this one.
find_library(SPINOR_BLAS NAMES libopenblas.a PATH_SUFFIXES openblas-serial
             PATHS /usr/lib/${CMAKE_LIBRARY_ARCHITECTURE} REQUIRED)
add_library(spinor_blas STATIC IMPORTED)
set_target_properties(spinor_blas PROPERTIES IMPORTED_LOCATION ${SPINOR_BLAS})

if(SPINOR_DEVELOPER)
  find_package(GTest REQUIRED)
  find_package(benchmark REQUIRED)
  find_library(RAPIDCHECK NAMES rapidcheck REQUIRED)
endif()
