"""Agents in containers: the engine, the runtime, the image."""
