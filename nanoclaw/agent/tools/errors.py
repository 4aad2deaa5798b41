"""The one way in which a tool says no."""


class ToolError(Exception):
    """The tool did not do it. The text goes to the model: relative paths, no machine details."""
