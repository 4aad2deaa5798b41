"""Owns how a long text becomes several messages: where it may be cut, and what is carried over from part to part."""

from nanoclaw.formatting.characters import mended, utf16_len
from nanoclaw.formatting.splitting import SMALLEST_LIMIT, Measure, split

__all__ = ["SMALLEST_LIMIT", "Measure", "mended", "split", "utf16_len"]
