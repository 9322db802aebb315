# The target spinor_torch: libtorch out of a torch wheel. Where it lies:
#   -DCMAKE_PREFIX_PATH=$(python -c 'import torch; print(torch.utils.cmake_prefix_path)')
if(SKBUILD)  # that of the Python which builds the wheel
  execute_process(COMMAND ${Python_EXECUTABLE} -c "import torch; print(torch.utils.cmake_prefix_path)"
                  OUTPUT_VARIABLE torch_prefix OUTPUT_STRIP_TRAILING_WHITESPACE)
  list(APPEND CMAKE_PREFIX_PATH ${torch_prefix})
endif()
find_package(Torch REQUIRED)
# The wheel brings headers of other libraries, fmt among them: its folder is searched last, lest they hide the system's.
set(torch_targets torch torch_library torch_cpu torch_cpu_library c10 headeronly)
foreach(target ${torch_targets})
  if(TARGET ${target})
    set_target_properties(${target} PROPERTIES INTERFACE_INCLUDE_DIRECTORIES "" INTERFACE_SYSTEM_INCLUDE_DIRECTORIES "")
  endif()
endforeach()
add_library(spinor_torch INTERFACE IMPORTED)
target_link_libraries(spinor_torch INTERFACE torch)
foreach(directory ${TORCH_INCLUDE_DIRS})
  target_compile_options(spinor_torch INTERFACE "SHELL:-idirafter ${directory}")
endforeach()
# libtorch's parallel_for is OpenMP in a header: compiled without it runs on one thread. GCC's runtime has the name of
# the one that the wheel brings, which is the one that is loaded.
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  target_compile_options(spinor_torch INTERFACE -fopenmp)
  target_link_libraries(spinor_torch INTERFACE gomp)
endif()
