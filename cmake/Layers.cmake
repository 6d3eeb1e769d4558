# SPDX-License-Identifier: Apache-2.0
# Layers. weir_layer(base) makes the static library weir_base of src/base. A layer sees include/, and
# under a generated include root symbolic links to itself and the layers it names: an include that
# goes up finds no file. A layer without sources makes no library and is skipped by its users.
#
#   inc/jq/base -> src/base      inc/jq/data -> src/data      inc/jq/jq -> src/jq

add_library(weir_build INTERFACE)
target_compile_features(weir_build INTERFACE c_std_17)
target_compile_definitions(weir_build INTERFACE _GNU_SOURCE WEIR_VERSION="${PROJECT_VERSION}")
target_compile_options(weir_build INTERFACE
    ${weir_warnings} -fvisibility=hidden -fno-common "-ffile-prefix-map=${CMAKE_SOURCE_DIR}/=")
target_include_directories(weir_build INTERFACE "${CMAKE_SOURCE_DIR}/include")
target_link_libraries(weir_build INTERFACE Threads::Threads m)
# libonig has a regcomp and regexec of its own, with other flags. Whoever comes first is taken, also for
# librdkafka's topic patterns, which mean libc's.
target_link_options(weir_build INTERFACE "LINKER:--push-state,--no-as-needed,-lc,--pop-state")
option(WEIR_LTO "Optimise the program across layers" OFF)
if(WEIR_LTO)
    set(weir_layer_options -flto=auto -ffat-lto-objects)
endif()

# TARGET: library; FOLDER: below src, its name in #include; SEES: folders below src it may include;
# LINKS: client libraries. Every library that exists is added to the global property WEIR_LIBRARIES,
# users first.
function(weir_layer TARGET FOLDER)
    cmake_parse_arguments(LAYER "" "" "SEES;LINKS" ${ARGN})
    file(GLOB sources CONFIGURE_DEPENDS "${CMAKE_SOURCE_DIR}/src/${FOLDER}/*.c")
    file(GLOB headers CONFIGURE_DEPENDS "${CMAKE_SOURCE_DIR}/src/${FOLDER}/*.h")
    set(root "${CMAKE_BINARY_DIR}/inc/${TARGET}")
    file(REMOVE_RECURSE "${root}")
    foreach(folder IN ITEMS ${FOLDER} LISTS LAYER_SEES)
        if(IS_DIRECTORY "${CMAKE_SOURCE_DIR}/src/${folder}")
            get_filename_component(parent "${root}/${folder}" DIRECTORY)
            file(MAKE_DIRECTORY "${parent}")
            file(CREATE_LINK "${CMAKE_SOURCE_DIR}/src/${folder}" "${root}/${folder}" SYMBOLIC)
        endif()
    endforeach()
    if(NOT sources)
        return()
    endif()
    add_library(${TARGET} STATIC ${sources} ${headers})
    target_include_directories(${TARGET} PRIVATE "${root}")
    target_compile_options(${TARGET} PRIVATE ${weir_layer_options})
    target_link_libraries(${TARGET} PRIVATE weir_build PUBLIC ${LAYER_LINKS})
    foreach(folder IN LISTS LAYER_SEES)
        if(TARGET weir_${folder})
            target_link_libraries(${TARGET} PUBLIC weir_${folder})
        endif()
    endforeach()
    set_property(GLOBAL APPEND PROPERTY WEIR_LIBRARIES ${TARGET})
endfunction()
