# spinor_rows(target): rows/*.yaml are compiled into the target (spinor/family/row_files.h). This file is also the
# script that writes the source for it: cmake -P spinor_rows.cmake OUT FILE...
function(spinor_rows target)
  set(folder ${PROJECT_SOURCE_DIR})
  set(script ${CMAKE_CURRENT_FUNCTION_LIST_FILE})
  set(source ${PROJECT_BINARY_DIR}/row_files.cpp)
  file(GLOB rows RELATIVE ${folder} CONFIGURE_DEPENDS ${folder}/rows/*.yaml)
  list(TRANSFORM rows PREPEND ${folder}/ OUTPUT_VARIABLE paths)
  # With their names in the command, it is run again where one is no longer there.
  add_custom_command(OUTPUT ${source} COMMAND ${CMAKE_COMMAND} -P ${script} ${source} ${rows}
                     WORKING_DIRECTORY ${folder} DEPENDS ${paths} ${script} COMMENT "Rows" VERBATIM)
  target_sources(${target} PRIVATE ${source})
  set_source_files_properties(${source} PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON)
endfunction()

if(NOT CMAKE_SCRIPT_MODE_FILE)
  return()
endif()
set(source ${CMAKE_ARGV3})
set(entries "")
math(EXPR last "${CMAKE_ARGC} - 1")
foreach(i RANGE 4 ${last})
  file(READ ${CMAKE_ARGV${i}} text)
  string(APPEND entries "    {\"${CMAKE_ARGV${i}}\", R\"yaml(${text})yaml\"},\n")
endforeach()
file(WRITE ${source} "#include \"spinor/family/row_files.h\"

namespace spinor {

std::span<const RowFile> row_files() {
  static constexpr RowFile kFiles[] = {
${entries}  };
  return kFiles;
}

}  // namespace spinor
")
