#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal: the sessions of the documentation that need Kafka go as they are written.

Method: each page with a "console kafka" block is run from its top on one real broker, whose address
stands in for localhost:9092, and the output is compared (tests/support/pages.py)."""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
import pages
from harness import case, main, weir_binary


@case
def sessions(context):
    kafka = context.kafka(settings={"auto.create.topics.enable": "true", "num.partitions": "4",
                                       "log.retention.ms": "-1"})
    count = 0
    for page in pages.pages():
        if not any(info == "console kafka" for _, info, _ in pages.blocks(page)):
            continue
        folder = context.dir / page.stem
        folder.mkdir()
        for where, fault in pages.run_page(page, folder, weir_binary(), kafka.address):
            count += 1
            if fault is not None:
                raise AssertionError(f"{where}\n{fault}")
    assert count >= 5, f"only {count} commands"
    context.say(f"{count} commands")


if __name__ == "__main__":
    main()
