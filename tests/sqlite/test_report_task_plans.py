"""The reports on tasks read by indexes what lies in their days, however long the ledger and the list of tasks are."""

from datetime import timedelta
from pathlib import Path

from nanoclaw.domain import TaskId, stamp
from nanoclaw.sqlite.reports import Reports
from tests.sqlite.test_report_plans import ExplainingReader
from tests.sqlite.vault import NOW, opened

TASKS = 2000


async def test_the_promise_and_the_runs_of_a_task_are_found_by_indexes(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        await vault.sql(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) INSERT INTO scheduled_tasks"
            " (id, group_folder, chat_jid, prompt, schedule_type, schedule_value, next_run, status, created_at)"
            " SELECT 'task-' || i, 'f', 'tg:1', 'p', 'interval', '1d', ?, CASE WHEN i % 50 THEN 'completed' ELSE 'active' END, ?"
            " FROM n",
            TASKS, stamp(NOW), stamp(NOW),
        )  # fmt: skip
        await vault.sql(
            "INSERT INTO occurrences (id, task_id, group_folder, chat_jid, due, state, claimed_at, ended_at)"
            " SELECT id, id, 'f', 'tg:1', ?, 'failed', ?, ? FROM scheduled_tasks",
            stamp(NOW), stamp(NOW), stamp(NOW),
        )  # fmt: skip
        await vault.sql("ANALYZE")
        reader = ExplainingReader(vault.path)
    week = timedelta(days=7)
    reports = Reports(reader, reader)
    promised = await reports.promised(NOW - week, NOW + week, tasks=10, troubles=10)
    assert (len(promised.tasks), promised.tasks_left_out) == (10, TASKS // 50 - 10)
    assert (len(promised.troubles), promised.troubles_left_out) == (10, TASKS - 10)
    assert len(await reports.task_runs(TaskId("task-7"), 5)) == 1
    assert await reports.task_results(TaskId("task-7"), 5) == []
    assert len(await reports.find_task("task-777")) == 1
    steps = {step for _, step in reader.plans}
    reader.connection.close()
    assert not [step for step in steps if step.startswith("SCAN")]
    assert any("idx_next_run_active" in step for step in steps)
    assert any("idx_occurrences_due" in step for step in steps)
