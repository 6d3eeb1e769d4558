# SPDX-License-Identifier: Apache-2.0
# Tests are found, not listed. A name says where the file is: tests/unit/base/test_arena.c is
# unit.base.arena (WEIR_TEST_PREFIX goes before it, so that one run can hold several builds).
#
#   tests/unit/<layer>/*.c          the layer and those below it, cmocka; app: with builtin.c
#   tests/{sim,oracle,fault}/*.c    everything below the program; what is no test_*.c is in each
#   tests/<suite>/*.py              the program, from outside, in $WEIR_BIN
#   tests/<suite>/*_tool.c          programs that tests call, in $WEIR_TOOLS
#
# Fuzzers are built by their test, with sanitizers of their own, so one build has it.
# What a newer Redis could do differently is tested with both: redis8.source is redis.source with the server
# that scripts/deps has built.
# What the thread sanitizer cannot see into is named in tests/support/tsan.supp.
# Only the builds with WEIR_BROKER_TESTS have the tests of the suites that start servers. Those wait more than
# they work, others never wait: scripts/test runs several at a time, in an order that mixes both. The sanitizers
# see those of them in which threads of a client library and of the engine meet.
set(WEIR_TEST_PREFIX "" CACHE STRING "Put before the name of each test")
option(WEIR_BROKER_TESTS "Register the tests that start servers" ON)
set(tests_dir "${CMAKE_SOURCE_DIR}/tests")
set(tsan_options "TSAN_OPTIONS=suppressions=${tests_dir}/support/tsan.supp")
set(server_suites "^(broker|redis|nats|pairs)$")
set(sanitized_tests nats/test_call.py nats/test_call_trouble.py)
set(redis8_server "${CMAKE_SOURCE_DIR}/build/deps/redis-server-8.0.6/redis-server")
set(redis8_tests cluster positioned replies sentinel sink source state trouble)

# The longest first, the others as if they were shuffled, but always alike.
set(longest_tests fuzz.fuzz asan.sim.crash broker.broker pairs.pairs)
function(weir_test_order NAME)
    string(MD5 digits "${NAME}")
    string(SUBSTRING "${digits}" 0 4 digits)
    math(EXPR cost "0x${digits}")
    if(NAME IN_LIST longest_tests)
        set(cost 100000)
    endif()
    set_tests_properties("${NAME}" PROPERTIES COST ${cost})
endfunction()

function(weir_test_name SOURCE OUT)
    string(REGEX REPLACE "test_([^/]*)\\.(c|py)$" "\\1" name "${SOURCE}")
    string(REPLACE "/" "." name "${name}")
    set(${OUT} "${name}" PARENT_SCOPE)
endfunction()

function(weir_c_test SOURCE)
    weir_test_name("${SOURCE}" name)
    string(REGEX REPLACE "/.*" "" suite "${SOURCE}")
    string(REGEX REPLACE "^unit/|/.*" "" layer "${SOURCE}")
    file(GLOB helpers CONFIGURE_DEPENDS "${tests_dir}/${suite}/*.c")
    list(FILTER helpers EXCLUDE REGEX "/test_[^/]*$|_tool\\.c$")
    add_executable(${name} "tests/${SOURCE}" ${helpers})
    target_include_directories(${name} PRIVATE "${CMAKE_SOURCE_DIR}/src" "${tests_dir}/support")
    if(suite STREQUAL "unit" AND "weir_${layer}" IN_LIST core_layers)
        target_link_libraries(${name} PRIVATE weir_${layer} weir_build PkgConfig::CMOCKA)
    else()
        target_link_libraries(${name} PRIVATE weir_all PkgConfig::CMOCKA)
    endif()
    if(layer STREQUAL "app")
        target_sources(${name} PRIVATE "${CMAKE_SOURCE_DIR}/src/app/builtin.c")
    endif()
    if(WEIR_LTO)
        target_link_options(${name} PRIVATE -fno-lto)
    endif()
    set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/tests")
    add_test(NAME "${WEIR_TEST_PREFIX}${name}" COMMAND ${name})
    set_tests_properties("${WEIR_TEST_PREFIX}${name}" PROPERTIES LABELS ${suite} TIMEOUT 600
        WORKING_DIRECTORY "${CMAKE_SOURCE_DIR}" ENVIRONMENT "${tsan_options}")
    weir_test_order("${WEIR_TEST_PREFIX}${name}")
endfunction()

function(weir_python_test SOURCE)
    weir_test_name("${SOURCE}" name)
    string(REGEX REPLACE "/.*" "" suite "${SOURCE}")
    set(name "${WEIR_TEST_PREFIX}${name}")
    add_test(NAME ${name} COMMAND Python3::Interpreter "${tests_dir}/${SOURCE}")
    set_tests_properties(${name} PROPERTIES LABELS ${suite} TIMEOUT 1800
        WORKING_DIRECTORY "${CMAKE_SOURCE_DIR}"
        ENVIRONMENT "WEIR_BIN=${CMAKE_BINARY_DIR}/weir;WEIR_TEST_DIR=${CMAKE_BINARY_DIR}/test-data;WEIR_TOOLS=${CMAKE_BINARY_DIR}/tests;PYTHONDONTWRITEBYTECODE=1;${tsan_options}"
        ENVIRONMENT_MODIFICATION "PYTHONPATH=path_list_prepend:${CMAKE_SOURCE_DIR}/build/deps/python;PYTHONPATH=path_list_prepend:${tests_dir}/support")
    if(suite MATCHES "${server_suites}")
        set_tests_properties(${name} PROPERTIES TIMEOUT 5400)
    endif()
    weir_test_order(${name})
endfunction()

function(weir_redis8_test TEST)
    set(name "${WEIR_TEST_PREFIX}redis8.${TEST}")
    add_test(NAME ${name} COMMAND Python3::Interpreter "${tests_dir}/redis/test_${TEST}.py")
    get_test_property("${WEIR_TEST_PREFIX}redis.${TEST}" ENVIRONMENT environment)
    get_test_property("${WEIR_TEST_PREFIX}redis.${TEST}" ENVIRONMENT_MODIFICATION modification)
    list(APPEND environment "WEIR_REDIS=${redis8_server}" "WEIR_TEST_DIR=${CMAKE_BINARY_DIR}/test-data/redis8")
    set_tests_properties(${name} PROPERTIES LABELS redis TIMEOUT 5400
        WORKING_DIRECTORY "${CMAKE_SOURCE_DIR}" ENVIRONMENT "${environment}"
        ENVIRONMENT_MODIFICATION "${modification}")
    weir_test_order(${name})
endfunction()

find_package(Python3 REQUIRED COMPONENTS Interpreter)
file(GLOB_RECURSE c_sources RELATIVE "${tests_dir}" CONFIGURE_DEPENDS
    "${tests_dir}/unit/test_*.c" "${tests_dir}/sim/test_*.c" "${tests_dir}/oracle/test_*.c"
    "${tests_dir}/fault/test_*.c")
foreach(source IN LISTS c_sources)
    weir_c_test("${source}")
endforeach()

file(GLOB python_sources RELATIVE "${tests_dir}" CONFIGURE_DEPENDS "${tests_dir}/*/test_*.py")
foreach(source IN LISTS python_sources)
    string(REGEX REPLACE "/.*" "" suite "${source}")
    if((WEIR_BROKER_TESTS OR NOT suite MATCHES "${server_suites}" OR source IN_LIST sanitized_tests) AND
       (WEIR_TEST_PREFIX STREQUAL "" OR NOT suite STREQUAL "fuzz"))
        weir_python_test("${source}")
    endif()
endforeach()

foreach(test IN LISTS redis8_tests)
    if(TEST "${WEIR_TEST_PREFIX}redis.${test}")
        weir_redis8_test("${test}")
    endif()
endforeach()

file(GLOB tool_sources CONFIGURE_DEPENDS "${tests_dir}/*/*_tool.c")
foreach(source IN LISTS tool_sources)
    get_filename_component(name "${source}" NAME_WE)
    add_executable(${name} "${source}")
    if(source MATCHES "/support/")
        # What judges the program shares no code with it.
        target_link_libraries(${name} PRIVATE weir_build PkgConfig::RDKAFKA)
    else()
        target_include_directories(${name} PRIVATE "${CMAKE_SOURCE_DIR}/src")
        target_link_libraries(${name} PRIVATE weir_all)
        if(WEIR_LTO)
            target_link_options(${name} PRIVATE -fno-lto)
        endif()
    endif()
    set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/tests")
endforeach()

if(NOT WEIR_TEST_PREFIX)
    foreach(arguments IN ITEMS "" "--self-test")
        add_test(NAME "tidy${arguments}"
            COMMAND Python3::Interpreter "${CMAKE_SOURCE_DIR}/tools/tidy" ${arguments})
        set_tests_properties("tidy${arguments}" PROPERTIES LABELS tidy
            WORKING_DIRECTORY "${CMAKE_SOURCE_DIR}")
    endforeach()
    # The other compiler's warnings.
    add_test(NAME clang COMMAND Python3::Interpreter "${CMAKE_SOURCE_DIR}/tools/clang" "${CMAKE_BINARY_DIR}")
    set_tests_properties(clang PROPERTIES LABELS tidy PROCESSORS 2)
    weir_test_order(clang)
endif()
