"""What Prometheus is told."""

import functools

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)


class Metrics:
    """Counters of one service, in a registry of their own.

    Attributes:
        requests: By method, route and status.
        seconds: From request to the end of its answer, by route.
        sent: Bytes of answers.
        received: Bytes of uploads.
        under_way: Requests now.
        queued: Calls that wait, by queue.
        busy: Seconds in which a queue's thread was at work.
        batch: Windows per pass of a model.
        pass_seconds: Seconds in passes of models.
        decoded: Decoded files by how it went: ok, unusable, killed.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        counter = functools.partial(Counter, namespace="orpheus", registry=self.registry)
        gauge = functools.partial(Gauge, namespace="orpheus", registry=self.registry)
        histogram = functools.partial(Histogram, namespace="orpheus", registry=self.registry)
        self.requests = counter("requests", "Requests answered", ["method", "route", "status"])
        self.seconds = histogram(
            "request_seconds", "From a request to the end of its answer", ["route"], buckets=_SECONDS
        )
        self.sent = counter("sent_bytes", "Bytes of answers")
        self.received = counter("received_bytes", "Bytes of requests' bodies")
        self.under_way = gauge("requests_under_way", "Requests being answered")
        self.queued = gauge("queue_length", "Calls that wait", ["queue"])
        self.busy = counter("queue_busy_seconds", "Seconds in which a queue's thread was at work", ["queue"])
        self.batch = histogram("batch_windows", "Windows per pass of a model", buckets=(1, 2, 4, 8, 16, 32, 64))
        self.pass_seconds = counter("model_seconds", "Seconds in passes of models")
        self.decoded = counter("decoded_files", "Files decoded, by how it went", ["outcome"])

    def text(self) -> bytes:
        """All of them in Prometheus' text format."""
        return generate_latest(self.registry)
