"""The metrics of `zoo serve` in the format of Prometheus; those of several workers add up."""
import os
from collections.abc import Iterator
from functools import partial

import prometheus_client as prometheus
import psutil
from prometheus_client.multiprocess import MultiProcessCollector

_SECONDS = (.001, .002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5, 10)


class Metrics:
    """What a server counts.

    Args:
        max_batch: the most rows of a call.
        workers: how many processes serve; for several, PROMETHEUS_MULTIPROC_DIR in the environment
            names the folder where they write.

    Attributes:
        requests: a Counter of responses by model and status.
        seconds: a Histogram of the time of requests by model.
        rows: a Histogram of the rows of calls by model.
        queued: a Gauge of the rows that wait for the network.
    """

    def __init__(self, max_batch: int, workers: int = 1):
        self._several = workers > 1
        self._registry = registry = prometheus.CollectorRegistry()
        prometheus.ProcessCollector(registry=registry)
        self.requests = prometheus.Counter(
            "zoo_requests", "Answered requests.", ["model", "code"], registry=registry)
        self.seconds = prometheus.Histogram(
            "zoo_request_seconds", "From the head of a request to its response.", ["model"],
            buckets=_SECONDS, registry=registry)
        self.rows = prometheus.Histogram(
            "zoo_batch_rows", "Rows in a call of the network.", ["model"],
            buckets=[1 << n for n in range(max_batch.bit_length())], registry=registry)
        self.queued = prometheus.Gauge(
            "zoo_queue_rows", "Rows that wait for the network.", registry=registry,
            multiprocess_mode="livesum")

    def text(self) -> bytes:
        """Return all metrics, those of all workers together."""
        registry = self._registry
        if self._several:
            registry = prometheus.CollectorRegistry()
            MultiProcessCollector(registry)
            registry.register(_Workers())
        return prometheus.generate_latest(registry)


class _Workers(prometheus.registry.Collector):
    """Memory, time and files of all workers: the sums, and the start of the first."""

    def collect(self) -> Iterator[prometheus.Metric]:
        totals: dict[str, prometheus.Metric] = {}
        for process in psutil.Process(os.getppid()).children():
            one = prometheus.ProcessCollector(pid=partial(int, process.pid), registry=None)
            for metric in one.collect():
                total = totals.setdefault(metric.name, metric)
                if total is not metric:
                    combine = min if "start_time" in metric.name else sum
                    total.samples = [
                        sample._replace(value=combine((sample.value, other.value)))
                        for sample, other in zip(total.samples, metric.samples, strict=True)]
        yield from totals.values()
