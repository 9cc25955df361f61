# One interface target carries how our C is compiled.
include(CheckCCompilerFlag)
add_library(atelier_flags INTERFACE)
target_include_directories(atelier_flags INTERFACE ${PROJECT_SOURCE_DIR})
target_compile_definitions(atelier_flags INTERFACE
    _GNU_SOURCE ATELIER_VERSION="${PROJECT_VERSION}"
    $<$<BOOL:${ATELIER_CRASH_POINTS}>:ATELIER_CRASH_POINTS=1>)
target_compile_options(atelier_flags INTERFACE
    -Wall -Wextra -Wshadow -Wconversion -Wformat=2 -Wstrict-prototypes -Wmissing-prototypes -Wcast-qual -Wvla
    -Wimplicit-fallthrough -Wpointer-arith -Wundef -Wswitch-enum
    $<$<BOOL:${ATELIER_WERROR}>:-Werror>)

# Assertions guard our own bugs and stay on in every build.
string(REPLACE "-DNDEBUG" "" CMAKE_C_FLAGS_RELWITHDEBINFO "${CMAKE_C_FLAGS_RELWITHDEBINFO}")
string(REPLACE "-DNDEBUG" "" CMAKE_C_FLAGS_RELEASE "${CMAKE_C_FLAGS_RELEASE}")
string(REPLACE "-DNDEBUG" "" CMAKE_C_FLAGS_MINSIZEREL "${CMAKE_C_FLAGS_MINSIZEREL}")

if(ATELIER_SANITIZE)
    target_compile_options(atelier_flags INTERFACE
        -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer)
    target_link_options(atelier_flags INTERFACE -fsanitize=address,undefined)
else()
    target_compile_options(atelier_flags INTERFACE
        -fstack-protector-strong $<$<NOT:$<CONFIG:Debug>>:-U_FORTIFY_SOURCE> $<$<NOT:$<CONFIG:Debug>>:-D_FORTIFY_SOURCE=2>)
    target_link_options(atelier_flags INTERFACE -Wl,-z,relro,-z,now,-z,noexecstack)
    check_c_compiler_flag(-fstack-clash-protection ATELIER_HAS_STACK_CLASH)
    if(ATELIER_HAS_STACK_CLASH)
        target_compile_options(atelier_flags INTERFACE -fstack-clash-protection)
    endif()
    set(CMAKE_POSITION_INDEPENDENT_CODE ON)
    include(CheckPIESupported)
    check_pie_supported()
endif()
if(ATELIER_FUZZ)
    target_compile_options(atelier_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()
if(ATELIER_COVERAGE)
    target_compile_options(atelier_flags INTERFACE --coverage -fprofile-update=atomic)
    target_link_options(atelier_flags INTERFACE --coverage)
endif()

# A folder's sources are the .c files in it: the tree is the architecture, a list beside it would only drift.
function(atelier_floor name)
    file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.c)
    if(NOT sources)
        add_library(atelier_${name} INTERFACE)
        target_link_libraries(atelier_${name} INTERFACE atelier_flags ${ARGN})
        return()
    endif()
    add_library(atelier_${name} STATIC ${sources})
    target_link_libraries(atelier_${name} PUBLIC atelier_flags ${ARGN})
endfunction()
