"""The outside world, played by real servers on loopback: for tests, benchmarks, the demo and the authors of plugins.

They never de-duplicate for us, and they keep a log of everything that reached them.
"""
