"""The program inside the container: one run of agent turns. It shares only `nanoclaw.wire` with the host."""
