# SPDX-License-Identifier: Apache-2.0
# The front door. Everything here is one command that can be typed by hand; `make` alone lists them.
.DEFAULT_GOAL := help
.PHONY: help deps build check test test-long bench quickstart install clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 20

deps: ## install what the build needs (scripts/deps)
	scripts/deps

build: deps ## build build/release/weir
	cmake --preset release
	cmake --build --preset release

check: ## before a commit: development build, unit tests, tidy; no server
	scripts/deps --tests
	cmake --preset dev
	cmake --build --preset dev
	ctest --preset dev -LE 'broker|redis|nats'

test: ## the whole suite, with real servers (scripts/test)
	scripts/test

test-long: ## the suite with the full counts of kills and seeds
	scripts/test --long

bench: ## throughput, CPU and memory next to a hand-written loop
	scripts/deps --tests
	cmake --preset release
	cmake --build --preset release --target weir
	bench/run

quickstart: ## flights of 2013 through a pipeline, results on the terminal
	scripts/quickstart

install: build ## into DESTDIR and the prefix of the build
	cmake --install build/release

clean: ## remove builds, keep fetched dependencies
	find build -mindepth 1 -maxdepth 1 ! -name deps ! -name data -exec rm -rf {} +
