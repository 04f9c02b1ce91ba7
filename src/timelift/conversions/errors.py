"""What a conversion raises when it cannot stand in for a layer; lift puts the layer's name before it."""

from timelift.records.errors import UsageError


class ConversionError(UsageError):
    """This layer cannot be converted so; the message says why, and what to do."""


class ClipTooShort(UsageError):
    """The clip has fewer frames than a layer without temporal padding needs."""
