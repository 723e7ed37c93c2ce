# The one place that says how godwit's targets are built.

# Flags of a preset sit on an interface target, so that the freestanding guest payload does not inherit them.
add_library(godwit_flags INTERFACE)
target_compile_options(godwit_flags INTERFACE -Wall -Wextra -Wpedantic -Wconversion -Werror=return-type
  -Wnon-virtual-dtor -Woverloaded-virtual -fno-strict-aliasing
  # Where several files are compiled as one, what one declares in a function may bear the name of another's.
  $<$<NOT:$<BOOL:$<TARGET_PROPERTY:UNITY_BUILD>>>:-Wshadow>)
if(GODWIT_SANITIZE)
  # Without no-sanitize-recover undefined behaviour is printed and the test passes.
  target_compile_options(godwit_flags INTERFACE -fsanitize=${GODWIT_SANITIZE} -fno-sanitize-recover=all
    -fno-omit-frame-pointer)
  target_link_options(godwit_flags INTERFACE -fsanitize=${GODWIT_SANITIZE})
  target_compile_definitions(godwit_flags INTERFACE GODWIT_SANITIZED=1)
endif()
if(GODWIT_FUZZ)
  target_compile_options(godwit_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()

# The same sources compile to the same objects in every work tree, so that one's cache serves all.
find_program(GODWIT_CCACHE ccache)
if(GODWIT_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_C_COMPILER_LAUNCHER "${CMAKE_COMMAND}" -E env "CCACHE_BASEDIR=${PROJECT_SOURCE_DIR}" CCACHE_NOHASHDIR=1
    CCACHE_SLOPPINESS=pch_defines,time_macros "${GODWIT_CCACHE}")
  set(CMAKE_CXX_COMPILER_LAUNCHER "${CMAKE_C_COMPILER_LAUNCHER}")
  # Lets ccache see what a precompiled header was made of.
  target_compile_options(godwit_flags INTERFACE $<$<COMPILE_LANG_AND_ID:CXX,GNU>:-fpch-preprocess>)
endif()

# godwit_library(NAME SOURCES sources... HEADERS headers... LINK targets... PRIVATE_LINK targets...)
# declares the static library godwit_NAME with the alias godwit::NAME; public headers live in <here>/include.
function(godwit_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;HEADERS;LINK;PRIVATE_LINK" ${ARGN})
  add_library(godwit_${name} STATIC ${ARG_SOURCES})
  add_library(godwit::${name} ALIAS godwit_${name})
  target_sources(godwit_${name} PUBLIC FILE_SET HEADERS BASE_DIRS include FILES ${ARG_HEADERS})
  target_include_directories(godwit_${name} PRIVATE src)
  target_link_libraries(godwit_${name} PUBLIC ${ARG_LINK} PRIVATE ${ARG_PRIVATE_LINK} $<BUILD_INTERFACE:godwit_flags>)
  set_target_properties(godwit_${name} PROPERTIES VERIFY_INTERFACE_HEADER_SETS ON POSITION_INDEPENDENT_CODE ON
    EXPORT_NAME ${name})
endfunction()

# godwit_executable(NAME SOURCES sources... LINK targets...): an executable of ours; mimalloc replaces its malloc,
# except under sanitizers, which need their own.
function(godwit_executable name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LINK" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE ${ARG_LINK} godwit_flags)
  if(NOT GODWIT_SANITIZE)
    target_link_libraries(${name} PRIVATE mimalloc)
  endif()
endfunction()

# How tests, the command and the lab are compiled: most of their time is the compiler's, not theirs.
set(GODWIT_QUICK_OPTIONS -O1 -g1)

# Several files of a test program, or of the lab, are compiled as one: they instantiate the same templates, which is most
# of the work. Presets that look at single files (tidy, fuzz) and those for daily work (dev) go without.
option(GODWIT_UNITY "Compile several files of tests and lab at once" OFF)
set(GODWIT_UNITY_FILES 8)

# godwit_test(NAME SOURCES ... LINK ... LABELS ... CASE_LABELS prefix label... TIMEOUT seconds OPTIMIZED):
# a GoogleTest program, one ctest entry a test case.
#   CASE_LABELS  one label more for the cases whose names begin with a prefix
#   OPTIMIZED    the program itself is what takes the time
function(godwit_test name)
  cmake_parse_arguments(ARG "OPTIMIZED" "TIMEOUT" "SOURCES;LINK;LABELS;CASE_LABELS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE ${ARG_LINK} godwit_test_support GTest::gmock GTest::gtest_main godwit_flags)
  if(NOT ARG_OPTIMIZED)
    target_compile_options(${name} PRIVATE ${GODWIT_QUICK_OPTIONS})
    target_precompile_headers(${name} REUSE_FROM godwit_test_support)
    set_target_properties(${name} PROPERTIES
      UNITY_BUILD ${GODWIT_UNITY}
      UNITY_BUILD_BATCH_SIZE ${GODWIT_UNITY_FILES})
  endif()
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/tests")
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 120)
  endif()
  include(GoogleTest)
  gtest_discover_tests(${name} NO_PRETTY_VALUES DISCOVERY_MODE PRE_TEST DISCOVERY_TIMEOUT 60
    PROPERTIES TIMEOUT ${ARG_TIMEOUT} SKIP_REGULAR_EXPRESSION "\\[  SKIPPED \\]")
  # A list does not survive PROPERTIES: only its first label would be set, and what follows would go wrong.
  set(more "")
  while(ARG_CASE_LABELS)
    list(POP_FRONT ARG_CASE_LABELS prefix label)
    string(APPEND more "  if(test MATCHES \"^${prefix}\")\n    list(APPEND labels ${label})\n  endif()\n")
  endwhile()
  set(labels_file "${CMAKE_CURRENT_BINARY_DIR}/${name}_labels.cmake")
  file(WRITE "${labels_file}"
    "foreach(test IN LISTS ${name}_TESTS)\n  set(labels ${ARG_LABELS})\n${more}"
    "  set_tests_properties(\"\${test}\" PROPERTIES LABELS \"\${labels}\")\nendforeach()\n")
  set_property(DIRECTORY APPEND PROPERTY TEST_INCLUDE_FILES "${labels_file}")
endfunction()
