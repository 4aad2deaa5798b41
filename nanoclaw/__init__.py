"""NanoClaw: a headless personal AI assistant, operated entirely from chat apps."""

__version__ = "0.1.0"
