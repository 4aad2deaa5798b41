"""Workflows: tasks that lie ready as files, how one is switched on in a chat, and what its agent reads. Pure."""

from nanoclaw.workflows.enabling import (
    Rules,
    Terms,
    disable,
    enable,
    enabled,
    read_terms,
    task_line,
    terms_of,
)
from nanoclaw.workflows.facts import Facts, Planned, Trouble, facts_text
from nanoclaw.workflows.reading import read_workflow
from nanoclaw.workflows.rendering import render
from nanoclaw.workflows.shelf import Desk, Shelf, missing_line
from nanoclaw.workflows.workflow import Broken, Workflow, WorkflowError, plain_name, read_topics, title_of

__all__ = [
    "Broken", "Desk", "Facts", "Planned", "Rules", "Shelf", "Terms", "Trouble", "Workflow", "WorkflowError", "disable",
    "enable", "enabled", "facts_text", "missing_line", "plain_name", "read_terms", "read_topics", "read_workflow", "render",
    "task_line", "terms_of", "title_of",
]  # fmt: skip
