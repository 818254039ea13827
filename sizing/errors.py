"""The one error of this room."""


class SizingError(ValueError):
    """What was asked cannot be answered. The text is one sentence that names the field and what would work."""
