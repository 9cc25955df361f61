# Everything we link, as imported targets. Why each is there: docs/architecture.md.
find_package(PkgConfig REQUIRED)

pkg_check_modules(LIBEVENT REQUIRED IMPORTED_TARGET libevent_core>=2.1)
pkg_check_modules(SQLITE REQUIRED IMPORTED_TARGET sqlite3>=3.37)
pkg_check_modules(JANSSON REQUIRED IMPORTED_TARGET jansson>=2.12)
pkg_check_modules(SYSTEMD REQUIRED IMPORTED_TARGET libsystemd>=249)

# libpq is not linked: the program loads it when it first asks a server. Only its headers are needed here; where the loader
# does not find it by its name (Nix), give its path.
pkg_check_modules(LIBPQ REQUIRED libpq>=10)
set(ATELIER_LIBPQ libpq.so.5 CACHE STRING "What is loaded to talk to PostgreSQL: a library's name, or its path")
add_library(atelier_libpq INTERFACE)
target_include_directories(atelier_libpq SYSTEM INTERFACE ${LIBPQ_INCLUDE_DIRS})
target_compile_definitions(atelier_libpq INTERFACE ATELIER_LIBPQ="${ATELIER_LIBPQ}")
target_link_libraries(atelier_libpq INTERFACE ${CMAKE_DL_LIBS})

# msgpack-c is called "msgpack" in Debian 12 and "msgpack-c" from its version 6 on (Debian 13, nixpkgs). The CMake package is
# asked first: the pkg-config file of Debian 13 names a relative include directory, which CMake refuses.
find_package(msgpack-c CONFIG QUIET)
if(TARGET msgpack-c)
    add_library(atelier_msgpack ALIAS msgpack-c)
else()
    pkg_search_module(MSGPACK REQUIRED IMPORTED_TARGET msgpack-c msgpack)
    add_library(atelier_msgpack ALIAS PkgConfig::MSGPACK)
endif()
