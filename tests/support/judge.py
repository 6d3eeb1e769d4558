# SPDX-License-Identifier: Apache-2.0
"""The steps that most broker tests share: two topics, a load of self-describing records, the wait for
the end, the verdict."""
import wait


class Load:
    """Topics `<case>-in` and `<case>-out` of one case (or of `name`), a producer into the first, the verdict. With a
    `rate` the producer goes on after `count` records until finish(), so that there is always load."""

    def __init__(self, context, cluster, count, rate=0, keys=2000, partitions=4, pad=40,
                 sink_cluster=None, name=None):
        self.sink_cluster = sink_cluster or cluster
        self.context, self.cluster = context, cluster
        self.name = name or context.name
        self.source, self.sink = f"{self.name}-in", f"{self.name}-out"
        self.count, self.options = count, {"keys": keys, "partitions": partitions, "pad": pad}
        cluster.create(self.source, partitions=partitions)
        self.sink_cluster.create(self.sink, partitions=partitions)
        self._rate = rate
        self._producer = None

    def start(self):
        """Produces in the background."""
        self._producer = self.context.tool_start(
            "produce", self.cluster, topic=self.source, count=self.count, headers=True,
            **({"rate": self._rate, "endless": True} if self._rate else {}), **self.options)
        return self

    def finish(self):
        """Ends the load, after at least `count` records, and waits until all are in the topic."""
        if self._producer is not None:
            if self._rate:  # once it writes, it knows what a signal means
                wait.until(lambda: self.cluster.end_sum(self.source) > 0, 60, "the load has begun")
                self._producer.terminate()
            made = self.context.tool_finish(self._producer)
            self._producer = None
            assert made["produced"] >= self.count, made
            self.count = made["produced"]

    def drain(self, group, *processes, seconds=120):
        """Waits for the producer, then for the group to have committed everything."""
        self.finish()
        self.cluster.wait_drained(group, self.source, seconds, alive=processes)

    def verdict(self, check=True, **options):
        """What a downstream reader finds. Values must be the input's unless same_value=False."""
        if options.pop("same_value", True):
            options["same_value"] = True
        arguments = {"in": self.source, "out": self.sink, "wait": 40,
                     "out_brokers": self.sink_cluster.address} | options
        result = self.context.tool("verify", self.cluster, check=False, **arguments)
        result["aborted"] = self.sink_cluster.end_sum(self.sink) - result["output"]
        self.context.say("{output} of {expected} out, {lost} lost, {duplicated} duplicated, "
                         "{reordered} reordered, {aborted} hidden (aborted or markers)"
                         .format(**result))
        if check and result["exit"] != 0:
            raise AssertionError(f"the checker says: {result}")
        if check:
            assert result["input"] == self.count, (result, self.count)
        return result

    def progress(self):
        return self.sink_cluster.end_sum(self.sink, "read_committed")

    def wait_progress(self, records, seconds=60, alive=()):
        """Waits until `records` more are visible in the output than now."""
        goal = self.progress() + records

        def moved():
            for process in alive:
                process.expect_running()
            return self.progress() >= goal
        wait.until(moved, seconds, f"{records} more records in {self.sink}")
