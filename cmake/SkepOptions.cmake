# Language level, warnings and sanitizers for every target of ours, and the
# three helper functions by which rooms, programs and tests are declared.

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)

set(SKEP_SANITIZE "" CACHE STRING "Sanitizers for all our code: empty, 'address,undefined' or 'thread'")
option(SKEP_FUZZ "Build the fuzz targets (clang; see the preset fuzz)" OFF)
option(SKEP_COVERAGE "Instrument for coverage figures" OFF)
option(SKEP_WERROR "Warnings are errors" ON)

# Everything of ours links skep_options and so gets the same flags.
add_library(skep_options INTERFACE)
target_include_directories(skep_options INTERFACE ${CMAKE_SOURCE_DIR} ${CMAKE_BINARY_DIR}/generated)
target_compile_options(skep_options INTERFACE -Wall -Wextra -Wpedantic -Wshadow -Werror=switch
                       -Wnon-virtual-dtor -Woverloaded-virtual $<$<BOOL:${SKEP_WERROR}>:-Werror>)
# As soon as it optimizes, GCC 12 reports in the standard library and in Asio what is not there: reads of an empty
# std::optional that is moved (maybe-uninitialized), writes behind short strings that are put together
# (array-bounds, stringop-overflow, restrict), a delete that does not fit the frame of a coroutine
# (mismatched-new-delete). dev, where the same code is compiled without optimization, keeps all of them.
target_compile_options(skep_options INTERFACE
  "$<$<AND:$<CXX_COMPILER_ID:GNU>,$<CONFIG:Release>>:-Wno-maybe-uninitialized;-Wno-array-bounds;-Wno-stringop-overflow;-Wno-stringop-overread;-Wno-restrict;-Wno-mismatched-new-delete>")
# The sanitizers' builds are clang's (decision 0064). Its shadows are also names that a lambda takes in from a structured
# binding, what is deprecated is in GCC's own <algorithm>, and an actor's resume() hides CAF's on purpose.
target_compile_options(skep_options INTERFACE
  "$<$<CXX_COMPILER_ID:Clang>:-Wno-shadow;-Wno-deprecated-declarations;-Wno-overloaded-virtual>")
# What the precompiled headers use of templates is instantiated with them, and not again in each file: a tenth of
# what compiling takes.
target_compile_options(skep_options INTERFACE $<$<CXX_COMPILER_ID:Clang>:-fpch-instantiate-templates>)
# GCC collects garbage all the time by default, a seventh of its work; with a gigabyte before the first time it hardly
# ever does, and a file takes 1.7 GB instead of 1.3 (tools/lib/build counts with it).
target_compile_options(skep_options INTERFACE
  "$<$<CXX_COMPILER_ID:GNU>:--param=ggc-min-heapsize=1000000;--param=ggc-min-expand=100>")
if(SKEP_SANITIZE)
  target_compile_options(skep_options INTERFACE -fsanitize=${SKEP_SANITIZE} -fno-omit-frame-pointer)
  target_link_options(skep_options INTERFACE -fsanitize=${SKEP_SANITIZE})
  target_compile_definitions(skep_options INTERFACE SKEP_SANITIZED=1) # Each compiler has a macro of its own for it.
  if(SKEP_SANITIZE MATCHES "undefined")
    # CAF binds null references while it spawns function actors; see tests/support/sanitizers. The others cost time, not
    # safety: alignment is a fifth of what compiling takes, for reads that the processors we run on make no difference
    # of; vptr and pointer-overflow are a third, and what they warn of AddressSanitizer sees when it is read.
    target_compile_options(skep_options INTERFACE -fno-sanitize=null,alignment,vptr,pointer-overflow -fno-sanitize-recover=undefined)
  endif()
endif()
if(SKEP_COVERAGE)
  target_compile_options(skep_options INTERFACE --coverage)
  target_link_options(skep_options INTERFACE --coverage)
endif()

# A unity build (every preset but edit and fuzz) compiles several files as one: the whole of a target, or eight files in
# release (decisions 0013 and 0067). The preset edit goes file by file, which makes a small edit cheap and keeps each
# file's includes honest. Two files of a target cannot use one name for two things in their anonymous namespaces, which
# is no loss.
if(CMAKE_UNITY_BUILD)
  # All files of a batch count as one here, and a class of one of them may hold what is unnamed in another.
  target_compile_options(skep_options INTERFACE $<$<CXX_COMPILER_ID:GNU>:-Wno-subobject-linkage>)
endif()

# A compiler cache and a fast linker are used where the machine has them.
find_program(SKEP_CCACHE ccache)
if(SKEP_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env CCACHE_BASEDIR=${CMAKE_SOURCE_DIR}
      CCACHE_NOHASHDIR=1 CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime
      ${SKEP_CCACHE})
  set(CMAKE_C_COMPILER_LAUNCHER ${CMAKE_CXX_COMPILER_LAUNCHER})
  add_compile_options($<$<COMPILE_LANG_AND_ID:CXX,GNU>:-fpch-preprocess>
                      "$<$<COMPILE_LANG_AND_ID:CXX,Clang>:SHELL:-Xclang -fno-pch-timestamp>")
endif()
find_program(SKEP_MOLD mold)
if(SKEP_MOLD)
  add_link_options(-fuse-ld=mold)
endif()

# skep_library(NAME SOURCES a.cpp ... LINKS x y ...): one room.
function(skep_library name)
  cmake_parse_arguments(arg "" "" "SOURCES;LINKS" ${ARGN})
  add_library(${name} STATIC ${arg_SOURCES})
  target_link_libraries(${name} PUBLIC skep_options ${arg_LINKS})
endfunction()

# skep_program(NAME SOURCES main.cpp ... LINKS x y ...): one of the five programs, placed in bin/.
function(skep_program name)
  cmake_parse_arguments(arg "" "" "SOURCES;LINKS" ${ARGN})
  add_executable(${name} ${arg_SOURCES})
  target_link_libraries(${name} PRIVATE skep_options ${arg_LINKS})
endfunction()

# skep_test(ROOM SOURCES a.test.cpp ... LINKS x ... [LABELS l ...]): one Catch2 program per room, named
# test_ROOM and registered with CTest as one test of that name.
function(skep_test room)
  cmake_parse_arguments(arg "" "" "SOURCES;LINKS;LABELS" ${ARGN})
  add_executable(test_${room} ${arg_SOURCES})
  target_link_libraries(test_${room} PRIVATE skep_options skep_test_main ${arg_LINKS})
  add_test(NAME ${room} COMMAND test_${room})
  set_tests_properties(${room} PROPERTIES TIMEOUT 300 LABELS "unit;${arg_LABELS}"
                       ENVIRONMENT "SKEP_BIN=${CMAKE_BINARY_DIR}/bin;SKEP_SOURCE=${CMAKE_SOURCE_DIR}")
endfunction()

# skep_bench(NAME SOURCES a.cpp ... LINKS x ...): the program bench_NAME that `tools/bench NAME` starts. It
# prints its figures beside its goals, takes --tiny, and ends with 1 where a goal is missed.
function(skep_bench name)
  cmake_parse_arguments(arg "" "" "SOURCES;LINKS" ${ARGN})
  add_executable(bench_${name} EXCLUDE_FROM_ALL ${arg_SOURCES})
  target_link_libraries(bench_${name} PRIVATE skep_options ${arg_LINKS})
  set_property(GLOBAL APPEND PROPERTY SKEP_BENCHES bench_${name})
endfunction()
