"""What a server tells about itself, for Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from ..report import Report

_SECONDS = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10, 30, 60, 120, 300)
_FACTORS = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 5)


class Metrics:
    """Counters of one server; no global state, so that several may live in a process."""

    def __init__(self) -> None:
        r = self.registry = CollectorRegistry()
        self.requests = Counter("sparktts_requests", "Speech requests that ended.", ["outcome"], registry=r)
        self.waiting = Gauge("sparktts_queue", "Requests that wait for their turn.", registry=r)
        self.running = Gauge("sparktts_running", "Requests that have been let in.", registry=r)
        self.first_audio = Histogram(
            "sparktts_first_audio_seconds", "From a request to its first sound.", buckets=_SECONDS, registry=r
        )
        self.total = Histogram(
            "sparktts_request_seconds", "From a request to its last sound.", buckets=_SECONDS, registry=r
        )
        self.rtf = Histogram(
            "sparktts_real_time_factor", "Seconds of computing for a second of speech.", buckets=_FACTORS, registry=r
        )
        self.speech = Counter("sparktts_speech_seconds", "Seconds of speech that were made.", registry=r)
        self.retries = Counter("sparktts_retries", "Sentences that were tried again.", registry=r)
        self.tokens = Counter("sparktts_tokens", "Tokens that the language model wrote.", registry=r)
        self.steps = Counter(
            "sparktts_steps", "Steps of the language model; tokens / steps is the batch size.", registry=r
        )

    def finished(self, report: Report) -> None:
        """A request was spoken to its end."""
        self.speech.inc(report.seconds)
        if report.seconds:
            self.rtf.observe(report.real_time_factor)
        self.retries.inc(sum(utterance.retries for utterance in report.utterances))

    def text(self) -> bytes:
        """In Prometheus's text format."""
        return generate_latest(self.registry)
