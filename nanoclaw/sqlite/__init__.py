"""The store: one SQLite file, one writer task, readers apart. All SQL of the program lives in this folder."""
