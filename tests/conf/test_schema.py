#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal: the JSON Schema is valid and agrees with `weir check` about what can be written.

Method: jsonschema, a real validator, judges the schema itself and then every golden pipeline: those
that weir accepts must pass, and those whose error a schema can express must not.
"""
import json
import os
import pathlib
import re
import subprocess
import sys

import jsonschema
import yaml

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
# Errors that need a compiler, a clock, the environment or the engine.
BEYOND = re.compile(r"^(?:jq_(?!unquoted)|guarantee_(?!unknown)|variables_|duplicate_|same_|secret_file|exchange_(?!wrong)|"
                    r"credential_|http_no_token|http_tls_without_clients|kafka_property|kafka_bad_property|kafka_no_brokers|kafka_oauth|"
                    r"kafka_token|kafka_login|kafka_batch|topics_into_state|sources_into_state|tls_suites|redis_login_in_url|redis_nowhere|redis_sentinel_|redis_cluster_|redis_two_|answers_too_late|nats_names_|nats_atomic_|window_(?:in|late|reduce|time|without)_|tab$|bad_yaml|settings_out_of_range_)")


def load(path):
    class Loader(yaml.SafeLoader):
        """Words are words: on and off are no booleans."""
    Loader.yaml_implicit_resolvers = {
        first: [(tag, regexp) for tag, regexp in rows
                if tag not in ("tag:yaml.org,2002:bool", "tag:yaml.org,2002:timestamp")]
        for first, rows in yaml.SafeLoader.yaml_implicit_resolvers.items()}
    Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("^(?:true|false)$"), list("tf"))
    return yaml.load(path.read_text(), Loader)


def main():
    schema = json.loads(subprocess.run([os.environ["WEIR_BIN"], "schema"], check=True,
                                       stdout=subprocess.PIPE).stdout)
    jsonschema.Draft7Validator.check_schema(schema)
    validator = jsonschema.Draft7Validator(schema)
    failed = good = bad = 0
    examples = [p for p in sorted((ROOT / "examples").glob("*.yaml")) if ".test." not in p.name]
    for path in [*sorted((HERE / "pipelines").glob("*.yaml")), *examples]:
        expected = path.with_suffix(".expect")
        is_valid = not expected.exists() or expected.read_text().endswith("exit 0\n")
        if BEYOND.match(path.stem) and not is_valid:
            continue
        try:
            errors = [error.message for error in validator.iter_errors(load(path))]
        except yaml.YAMLError as error:
            errors = [str(error)]
        good += is_valid
        bad += not is_valid
        if is_valid == bool(errors):
            failed += 1
            print(f"{path.name}: weir {'accepts' if is_valid else 'refuses'} it, the schema does not: {errors[:2]}")
    print(f"{good} valid and {bad} wrong files, {failed} failed")
    sys.exit(1 if failed or good < 5 or bad < 20 else 0)


if __name__ == "__main__":
    main()
