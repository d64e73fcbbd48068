"""python -m tests.server.fuzz URL EXAMPLES: requests that schemathesis makes up from a server's OpenAPI document.

A process of its own, as ONNX Runtime changes the floating-point mode of those in which it has run. Prints a line for
each operation; fails at the first answer that is a server error, or an error without a sentence.
"""

from __future__ import annotations

import contextlib
import sys
from collections import Counter
from typing import Any

import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode


def fuzz(url: str, examples: int) -> int:
    """So many requests to each operation that fit its description, and as many that do not. Returns their number."""
    document = schemathesis.openapi.from_url(f"{url}/openapi.json")
    tried = 0
    for operation in [found.ok() for found in document.get_all_operations()]:
        seen: Counter[int] = Counter()
        for mode in GenerationMode:
            with contextlib.suppress(Unsatisfiable):  # nothing can be wrong where nothing is taken
                _runner(operation, mode, examples, seen)()
        tried += sum(seen.values())
        print(f"{operation.label}: {dict(sorted(seen.items()))}", flush=True)
    return tried


def _runner(operation: Any, mode: GenerationMode, examples: int, seen: Counter[int]) -> Any:
    @settings(
        max_examples=examples,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.explicit, Phase.generate),
        database=None,
        derandomize=True,
    )
    @given(operation.as_strategy(generation_mode=mode))
    def run(case: Any) -> None:
        if isinstance(case.body, dict) and isinstance(case.body.get("retries"), int):
            case.body["retries"] = min(case.body["retries"], 1)  # random weights fail each time, and that takes long
        response = case.call(timeout=120)
        seen[response.status_code] += 1
        assert response.status_code < 500, f"{case.as_curl_command()}\n{response.text}"
        if response.status_code >= 400 and response.headers.get("content-type") == "application/json":
            assert response.json()["error"]["message"]

    return run


if __name__ == "__main__":
    print(f"{fuzz(sys.argv[1], int(sys.argv[2]))} requests")
