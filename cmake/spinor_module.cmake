# Files that must be compiled alone: Highway includes them once for each CPU level.
function(spinor_unity)
  foreach(source ${ARGN})
    file(STRINGS ${source} levels REGEX "hwy/foreach_target.h" LIMIT_COUNT 1)
    if(levels)
      set_source_files_properties(${source} PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON)
    endif()
  endforeach()
endfunction()

# spinor_module(name DEPENDS modules... LINK libraries...): the folder spinor/<name> becomes the library spinor_<name>.
# Files are sorted by suffix: x_test.cpp is a test, x_bench.cpp a benchmark, x_fuzz.cpp a fuzzer, the rest the library.
# Where CMAKE_UNITY_BUILD is on, several files are compiled as one, which takes a third of the time: most of it goes
# into headers and templates that they share.
# DEPENDS is the only statement of who may include whom; tests/include_order_test.py reads it.
function(spinor_module name)
  cmake_parse_arguments(ARG "" "" "DEPENDS;LINK" ${ARGN})
  set(folder ${PROJECT_SOURCE_DIR}/spinor/${name})
  file(GLOB sources CONFIGURE_DEPENDS ${folder}/*.cpp)
  set(tests ${sources})
  set(benches ${sources})
  set(fuzzers ${sources})
  list(FILTER tests INCLUDE REGEX "_test\\.cpp$")
  list(FILTER benches INCLUDE REGEX "_bench\\.cpp$")
  list(FILTER fuzzers INCLUDE REGEX "_fuzz\\.cpp$")
  list(FILTER sources EXCLUDE REGEX "_(test|bench|fuzz)\\.cpp$")

  spinor_unity(${sources} ${tests})
  add_library(spinor_${name} STATIC ${sources})
  add_library(spinor::${name} ALIAS spinor_${name})
  set_target_properties(spinor_${name} PROPERTIES EXPORT_NAME ${name})
  target_include_directories(spinor_${name} PUBLIC $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}>
                                                   $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
  target_compile_features(spinor_${name} PUBLIC cxx_std_20)
  list(TRANSFORM ARG_DEPENDS PREPEND spinor_)
  target_link_libraries(spinor_${name} PUBLIC ${ARG_DEPENDS} ${ARG_LINK} PRIVATE $<BUILD_INTERFACE:spinor_warnings>)
  install(TARGETS spinor_${name} EXPORT spinorTargets)
  install(DIRECTORY ${folder} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/spinor FILES_MATCHING
          PATTERN "*.h" PATTERN "*testing.h" EXCLUDE)

  if(SPINOR_DEVELOPER AND tests)
    add_executable(${name}_test ${tests})
    target_link_libraries(${name}_test PRIVATE spinor_${name} spinor_warnings GTest::gtest_main ${RAPIDCHECK})
    target_compile_options(${name}_test PRIVATE $<$<CONFIG:Release>:-O1>)  # half the time to build them
    target_compile_definitions(${name}_test PRIVATE SPINOR_SOURCE_DIR=".")  # where tests run
    gtest_discover_tests(${name}_test TEST_PREFIX ${name}. WORKING_DIRECTORY ${PROJECT_SOURCE_DIR}
                         PROPERTIES LABELS unit DISCOVERY_TIMEOUT 60)
  endif()
  if(SPINOR_DEVELOPER AND benches)
    add_executable(${name}_bench ${benches})
    target_link_libraries(${name}_bench PRIVATE spinor_${name} spinor_warnings benchmark::benchmark_main)
  endif()
  if(SPINOR_FUZZ)
    foreach(source ${fuzzers})
      get_filename_component(fuzzer ${source} NAME_WE)
      add_executable(${fuzzer} ${source})
      target_link_libraries(${fuzzer} PRIVATE spinor_${name} spinor_warnings -fsanitize=fuzzer)
    endforeach()
  endif()
endfunction()
