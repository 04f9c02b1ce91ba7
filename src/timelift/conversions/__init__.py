"""What one layer becomes on clips: frozen dataclasses, callable (layer) -> module on clips."""

from timelift.clip import Framewise
from timelift.conversions.errors import ClipTooShort, ConversionError
from timelift.conversions.factorize import Factorize
from timelift.conversions.gate import Gate
from timelift.conversions.inflate import Inflate
from timelift.conversions.pool import AvgPool, MaxPool
from timelift.conversions.recur import Recur
from timelift.conversions.shift import Shift
from timelift.conversions.tokens import TokenConv
from timelift.conversions.transform import Transform

__all__ = [
    "AvgPool",
    "ClipTooShort",
    "ConversionError",
    "Factorize",
    "Framewise",
    "Gate",
    "Inflate",
    "MaxPool",
    "Recur",
    "Shift",
    "TokenConv",
    "Transform",
]
