"""timelift: lift any image network into time, and learn honestly which lift is best on your videos.

The public names, and where each lives; a name is imported when it is first used.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOME = {
    "lift": "timelift.lifting",
    "VideoModel": "timelift.lifting",
    "mean_consensus": "timelift.lifting",
    "Framewise": "timelift.clip",
    "Inflate": "timelift.conversions",
    "Factorize": "timelift.conversions",
    "Recur": "timelift.conversions",
    "Shift": "timelift.conversions",
    "Gate": "timelift.conversions",
    "MaxPool": "timelift.conversions",
    "AvgPool": "timelift.conversions",
    "TokenConv": "timelift.conversions",
    "Transform": "timelift.conversions",
    "ConversionError": "timelift.conversions",
    "every": "timelift.networks.select",
    "first": "timelift.networks.select",
    "stages": "timelift.networks.select",
    "top": "timelift.networks.select",
    "bottom": "timelift.networks.select",
    "named": "timelift.networks.select",
    "tokens": "timelift.networks.select",
    "cycle": "timelift.networks.select",
    "image_network": "timelift.networks.images",
    "create_model": "timelift.systems",
    "list_models": "timelift.systems",
    "with_lstm": "timelift.systems.lstm",
    "build_variant": "timelift.variants",
    "parse_variant": "timelift.variants",
    "check_conversion": "timelift.testing",
    "load": "timelift.runs.saved",
    "save": "timelift.runs.saved",
    "keep_memory": "timelift.memory",
    "Stream": "timelift.deploy.stream",
    "optimize": "timelift.deploy.optimize",
    "optimize_stream": "timelift.deploy.frozen_stream",
    "export": "timelift.deploy.export",
    "export_step": "timelift.deploy.export",
    "open_exported": "timelift.deploy.exported",
    "SlidingClips": "timelift.deploy.sliding",
    "Recipe": "timelift.records",
    "compare_paired": "timelift.comparison",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'timelift' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *__all__]
