-- Tasks that keep their promise: what is made up for, how failures are counted, and what a workflow was given.

ALTER TABLE scheduled_tasks ADD COLUMN catch_up TEXT NOT NULL DEFAULT 'once' CHECK (catch_up IN ('once','skip','all'));
ALTER TABLE scheduled_tasks ADD COLUMN model TEXT;            -- NULL: as the group has it
ALTER TABLE scheduled_tasks ADD COLUMN parameters TEXT;       -- JSON: what a workflow was given (topics, …)
ALTER TABLE scheduled_tasks ADD COLUMN failures INTEGER NOT NULL DEFAULT 0;  -- failed occurrences in a row
ALTER TABLE scheduled_tasks ADD COLUMN why_paused TEXT;       -- set when the program paused it, in words for a person

ALTER TABLE occurrences ADD COLUMN next_try TEXT;             -- of one that failed and is tried again
CREATE INDEX idx_occurrences_next_try ON occurrences(next_try) WHERE state = 'running' AND next_try IS NOT NULL;
CREATE INDEX idx_occurrences_task ON occurrences(task_id, due);
CREATE INDEX idx_occurrences_due ON occurrences(due);
CREATE INDEX idx_next_run_active ON scheduled_tasks(next_run) WHERE status = 'active' AND next_run IS NOT NULL;
CREATE INDEX idx_tasks_group ON scheduled_tasks(group_folder, status);

ALTER TABLE registered_groups ADD COLUMN model TEXT;          -- NULL: as the settings say

-- A conversation that was made shorter: what it was before lies in the group's `conversations/`.
CREATE TABLE compactions (
  id INTEGER PRIMARY KEY AUTOINCREMENT, group_folder TEXT NOT NULL, old_session TEXT NOT NULL, new_session TEXT,
  reason TEXT NOT NULL CHECK (reason IN ('asked','full','too_long')),
  archive TEXT, messages INTEGER NOT NULL DEFAULT 0, tokens INTEGER, created_at TEXT NOT NULL,
  turn_id TEXT NOT NULL UNIQUE,            -- in which the summary is written; its state is that of the whole
  focus TEXT NOT NULL DEFAULT '',          -- what is to be kept above all
  upto INTEGER, keep_from INTEGER,         -- ids of transcript: the newest in the archive, the first that stays as it is
  for_turn TEXT                            -- that could not go on because the conversation was too long
);
CREATE INDEX idx_compactions_group ON compactions(group_folder, created_at);
CREATE INDEX idx_compactions_for ON compactions(for_turn) WHERE for_turn IS NOT NULL;
CREATE INDEX idx_turns_group ON turns(group_folder, started_at);

ALTER TABLE sessions ADD COLUMN tokens INTEGER;               -- how long the model found the conversation last

-- For what is kept a year and then goes.
CREATE INDEX idx_task_run_logs_run_at ON task_run_logs(run_at);
CREATE INDEX idx_outbox_done ON outbox(done_at) WHERE done_at IS NOT NULL;
