"""What one layer becomes on clips: frozen dataclasses, callable (layer) -> module on clips."""

from timelift.clip import Framewise
from timelift.conversions.errors import ClipTooShort, ConversionError
from timelift.conversions.factorize import Factorize
from timelift.conversions.inflate import Inflate
from timelift.conversions.pool import AvgPool, MaxPool

__all__ = ["AvgPool", "ClipTooShort", "ConversionError", "Factorize", "Framewise", "Inflate", "MaxPool"]
