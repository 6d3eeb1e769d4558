# SPDX-License-Identifier: Apache-2.0
# All layers below the program. weir_all is what programs of this tree link; libweir.a is the same for
# others: every layer in one archive, with the client libraries that scripts/deps built, so that a user
# needs nothing but packages of the system (weir.pc names them).
add_library(weir_all INTERFACE)
list(JOIN libraries "," group)
target_link_libraries(weir_all INTERFACE "$<LINK_GROUP:RESCAN,${group}>" weir_build)

set(archive "${CMAKE_BINARY_DIR}/libweir.a")
set(script "create ${archive}\n")
foreach(library IN LISTS libraries)
    string(APPEND script "addlib $<TARGET_FILE:${library}>\n")
endforeach()
set(pc_requires "libnats yaml-0.1 libmicrohttpd gnutls oniguruma libxxhash liblz4 libzstd")
foreach(name IN ITEMS RDKAFKA HIREDIS_SSL)
    get_target_property(files PkgConfig::${name} INTERFACE_LINK_LIBRARIES)
    list(FILTER files INCLUDE REGEX "/build/deps/.*\\.a$")
    if(files)
        string(APPEND script "addlib ${files}\n")
    else()
        string(TOLOWER " ${name}" module)
        string(APPEND pc_requires "${module}")
    endif()
endforeach()
string(APPEND script "save\nend\n")
file(GENERATE OUTPUT "${CMAKE_BINARY_DIR}/libweir.mri" CONTENT "${script}")
add_custom_command(OUTPUT "${archive}"
    COMMAND "${CMAKE_COMMAND}" -E rm -f "${archive}"
    COMMAND "${CMAKE_AR}" -M < "${CMAKE_BINARY_DIR}/libweir.mri"
    # What is there for link-time optimisation only this very compiler reads.
    COMMAND "${CMAKE_OBJCOPY}" -w -R ".gnu.lto_*" -R ".gnu.debuglto_*" -N __gnu_lto_v1 "${archive}"
    DEPENDS ${libraries} "${CMAKE_BINARY_DIR}/libweir.mri" VERBATIM)
add_custom_target(libweir ALL DEPENDS "${archive}")

# Found from the file itself: an installation may be moved, or be made with --prefix.
file(RELATIVE_PATH pc_prefix "/${CMAKE_INSTALL_LIBDIR}/pkgconfig" "/")
string(REGEX REPLACE "/$" "" pc_prefix "${pc_prefix}")
configure_file(cmake/weir.pc.in weir.pc @ONLY)
install(FILES "${archive}" DESTINATION "${CMAKE_INSTALL_LIBDIR}")
install(FILES "${CMAKE_BINARY_DIR}/weir.pc" DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig")
install(DIRECTORY include/weir DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}" FILES_MATCHING PATTERN "*.h")
