# One target per dependency: skep_dep_NAME. Why each is here: docs/dependencies.md.
find_package(Threads REQUIRED)
find_package(PkgConfig REQUIRED)

# CAF 0.17.6: Debian ships neither a CMake config nor a pkg-config file. BASP (caf_io) is not used.
find_path(CAF_INCLUDE_DIR caf/all.hpp REQUIRED)
find_library(CAF_CORE_LIBRARY caf_core REQUIRED)
add_library(skep_dep_caf INTERFACE)
target_link_libraries(skep_dep_caf INTERFACE ${CAF_CORE_LIBRARY} Threads::Threads)

function(skep_pkg name module)
  pkg_check_modules(${name} REQUIRED IMPORTED_TARGET GLOBAL ${module})
  add_library(skep_dep_${name} INTERFACE)
  target_link_libraries(skep_dep_${name} INTERFACE PkgConfig::${name})
endfunction()
skep_pkg(zmq libzmq)
skep_pkg(curl libcurl)
skep_pkg(sqlite sqlite3)
skep_pkg(archive libarchive)
skep_pkg(zstd libzstd)
skep_pkg(hyperscan libhs)
skep_pkg(isal libisal)

find_package(OpenSSL REQUIRED)
find_package(ZLIB REQUIRED)

# Header-only ones: msgpack-cxx without Boost (MSGPACK_NO_BOOST), nlohmann-json, CLI11, toml++, Beast/Asio.
add_library(skep_dep_msgpack INTERFACE)
target_compile_definitions(skep_dep_msgpack INTERFACE MSGPACK_NO_BOOST)
find_package(nlohmann_json REQUIRED)
add_library(skep_dep_json INTERFACE)
target_link_libraries(skep_dep_json INTERFACE nlohmann_json::nlohmann_json)
find_package(CLI11 REQUIRED)
add_library(skep_dep_cli11 INTERFACE)
target_link_libraries(skep_dep_cli11 INTERFACE CLI11::CLI11)
find_package(spdlog REQUIRED)
add_library(skep_dep_spdlog INTERFACE)
target_link_libraries(skep_dep_spdlog INTERFACE spdlog::spdlog)
find_path(TOMLPP_INCLUDE_DIR toml++/toml.h REQUIRED)
add_library(skep_dep_toml INTERFACE)
find_path(BEAST_INCLUDE_DIR boost/beast.hpp REQUIRED)
add_library(skep_dep_beast INTERFACE)
target_compile_definitions(skep_dep_beast INTERFACE BOOST_BEAST_USE_STD_STRING_VIEW BOOST_ASIO_NO_DEPRECATED)
# Asio 1.74 knows the coroutines of C++20 in GCC alone; clang has them with the same library.
target_compile_definitions(skep_dep_beast INTERFACE
  "$<$<CXX_COMPILER_ID:Clang>:BOOST_ASIO_HAS_CO_AWAIT=1;BOOST_ASIO_HAS_STD_COROUTINE=1>")
target_link_libraries(skep_dep_beast INTERFACE Threads::Threads)
