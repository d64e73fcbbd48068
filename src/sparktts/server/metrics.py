"""What a server tells about itself, for Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from ..report import Report

_SECONDS = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10, 30, 60, 120, 300)
_FACTORS = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 5)


class Metrics:
    """Counters of one server; no global state, so that several may live in a process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()

        def named(kind: type, name: str, text: str, **more: object) -> object:
            return kind(f"sparktts_{name}", text, registry=self.registry, **more)

        self.requests: Counter = named(Counter, "requests", "Speech requests that ended.", labelnames=["outcome"])  # type: ignore[assignment]
        self.waiting: Gauge = named(Gauge, "queue", "Requests that wait for their turn.")  # type: ignore[assignment]
        self.running: Gauge = named(Gauge, "running", "Requests that have been let in.")  # type: ignore[assignment]
        self.first_audio: Histogram = named(  # type: ignore[assignment]
            Histogram, "first_audio_seconds", "From a request to its first sound.", buckets=_SECONDS
        )
        self.total: Histogram = named(  # type: ignore[assignment]
            Histogram, "request_seconds", "From a request to its last sound.", buckets=_SECONDS
        )
        self.rtf: Histogram = named(  # type: ignore[assignment]
            Histogram, "real_time_factor", "Seconds of computing for a second of speech.", buckets=_FACTORS
        )
        self.speech: Counter = named(Counter, "speech_seconds", "Seconds of speech that were made.")  # type: ignore[assignment]
        self.retries: Counter = named(Counter, "retries", "Sentences that were tried again.")  # type: ignore[assignment]
        self.tokens: Counter = named(Counter, "tokens", "Tokens that the language model wrote.")  # type: ignore[assignment]
        self.steps: Counter = named(Counter, "steps", "Steps of the language model; tokens / steps is the batch size.")  # type: ignore[assignment]

    def finished(self, report: Report) -> None:
        """A request was spoken to its end."""
        self.speech.inc(report.seconds)
        if report.seconds:
            self.rtf.observe(report.real_time_factor)
        self.retries.inc(sum(utterance.retries for utterance in report.utterances))

    def text(self) -> bytes:
        """In Prometheus's text format."""
        return generate_latest(self.registry)
