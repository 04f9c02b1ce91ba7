"""What users test their own conversions with: the laws, and networks that can show them broken."""

from timelift.testing.laws import LawBroken, LawReport, check_conversion
from timelift.testing.wake import wake

__all__ = ["LawBroken", "LawReport", "check_conversion", "wake"]
