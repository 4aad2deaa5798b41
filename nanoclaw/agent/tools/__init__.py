"""The agent's own tools, one small file each; `table` lists them. Nothing is imported here: the search child starts fast."""
