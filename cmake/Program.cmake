# SPDX-License-Identifier: Apache-2.0
# The program: src/app sees every layer. Only it is optimised across layers (WEIR_LTO); objects carry
# ordinary code too, so that tests and libweir.a link without.
file(GLOB app_sources CONFIGURE_DEPENDS "${CMAKE_SOURCE_DIR}/src/app/*.c")
if(app_sources)
    add_executable(weir ${app_sources})
    target_include_directories(weir PRIVATE "${CMAKE_SOURCE_DIR}/src")
    target_link_libraries(weir PRIVATE weir_all)
    if(WEIR_LTO)
        target_compile_options(weir PRIVATE -flto=auto)
        target_link_options(weir PRIVATE -flto=auto -O3 -Wno-error)
    endif()
    install(TARGETS weir RUNTIME DESTINATION "${CMAKE_INSTALL_BINDIR}")
endif()
