"""The program that speaks to WhatsApp: the one place that loads neonize. It dies with the service that started it.

What the library does to its process (a logger on the root, lines on standard output, threads that never end, a panic of
its Go half) ends here.
"""
