"""What the numbers were measured on: processor, its features, cores, memory, and versions."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

FEATURES = ("avx2", "avx512f", "avx512_bf16", "avx512_vnni", "amx_bf16", "amx_int8", "asimd", "i8mm", "bf16")
PACKAGES = ("torch", "transformers", "onnxruntime", "mindspore", "numpy")


def describe() -> str:
    """One paragraph of `name: value` lines."""
    lines = [
        f"processor: {_processor()}, {os.cpu_count()} logical cores",
        f"features: {' '.join(_features()) or 'unknown'}",
    ]
    lines.append(f"system: {platform.system()} {platform.machine()}, Python {platform.python_version()}")
    lines.append("packages: " + ", ".join(f"{name} {found}" for name in PACKAGES if (found := _version(name))))
    if gpu := _gpu():
        lines.append(f"gpu: {gpu}")
    return "\n".join(lines)


def _cpuinfo(*keys: str) -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.partition(":")[0].strip() in keys), "")


def _processor() -> str:
    return _cpuinfo("model name") or platform.processor() or "unknown"


def _features() -> list[str]:
    present = set(_cpuinfo("flags", "Features").split())
    return [feature for feature in FEATURES if feature in present]


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def _gpu() -> str:
    try:
        import torch
    except ImportError:
        return ""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else ""
