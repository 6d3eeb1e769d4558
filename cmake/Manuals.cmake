# SPDX-License-Identifier: Apache-2.0
# Manual pages and shell completion, printed by the program itself from its table of commands. Not made
# when the program cannot run here.
if(TARGET weir AND NOT CMAKE_CROSSCOMPILING)
    set(manuals "${CMAKE_BINARY_DIR}/manuals")
    add_custom_command(OUTPUT "${manuals}/made"
        COMMAND "${CMAKE_COMMAND}" -E rm -rf "${manuals}"
        COMMAND "${CMAKE_COMMAND}" -E make_directory "${manuals}"
        COMMAND weir man --all --out "${manuals}/man1"
        COMMAND weir completion bash > "${manuals}/weir"
        COMMAND weir completion zsh > "${manuals}/_weir"
        COMMAND weir completion fish > "${manuals}/weir.fish"
        COMMAND "${CMAKE_COMMAND}" -E touch "${manuals}/made"
        DEPENDS weir VERBATIM)
    add_custom_target(manuals ALL DEPENDS "${manuals}/made")
    install(DIRECTORY "${manuals}/man1" DESTINATION "${CMAKE_INSTALL_MANDIR}")
    install(FILES "${manuals}/weir" DESTINATION "${CMAKE_INSTALL_DATADIR}/bash-completion/completions")
    install(FILES "${manuals}/_weir" DESTINATION "${CMAKE_INSTALL_DATADIR}/zsh/site-functions")
    install(FILES "${manuals}/weir.fish" DESTINATION "${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d")
endif()
