# Everything we link, as imported targets. Why each is there: docs/architecture.md.
find_package(PkgConfig REQUIRED)

pkg_check_modules(LIBEVENT REQUIRED IMPORTED_TARGET libevent_core>=2.1)
pkg_check_modules(SQLITE REQUIRED IMPORTED_TARGET sqlite3>=3.37)
pkg_check_modules(JANSSON REQUIRED IMPORTED_TARGET jansson>=2.12)
pkg_check_modules(SYSTEMD REQUIRED IMPORTED_TARGET libsystemd>=249)

# msgpack-c is called "msgpack" in Debian 12 and "msgpack-c" from its version 6 on (Debian 13, nixpkgs); the latter may
# come with a CMake package only.
pkg_search_module(MSGPACK IMPORTED_TARGET msgpack-c msgpack)
if(MSGPACK_FOUND)
    add_library(atelier_msgpack ALIAS PkgConfig::MSGPACK)
else()
    find_package(msgpack-c QUIET)
    if(NOT msgpack-c_FOUND)
        find_package(msgpack REQUIRED)
    endif()
    add_library(atelier_msgpack INTERFACE)
    if(TARGET msgpack-c)
        target_link_libraries(atelier_msgpack INTERFACE msgpack-c)
    else()
        target_link_libraries(atelier_msgpack INTERFACE msgpackc)
    endif()
endif()
