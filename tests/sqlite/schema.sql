CREATE TABLE action_log(id TEXT PRIMARY KEY, timestamp DATETIME DEFAULT CURRENT_TIMESTAMP, triggered_by TEXT REFERENCES event_log(id), action_type TEXT NOT NULL, target TEXT, content TEXT, tool_calls TEXT, turn_id TEXT, failed INTEGER NOT NULL DEFAULT 0);

CREATE TABLE asks(id INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, chat_jid TEXT, question TEXT NOT NULL, options TEXT NOT NULL, state TEXT NOT NULL DEFAULT 'open', created_at TEXT NOT NULL, expires_at TEXT, answered_by TEXT, answered_at TEXT, answer TEXT, payload TEXT, outbox_key TEXT);

CREATE TABLE attachments(id INTEGER PRIMARY KEY AUTOINCREMENT, seq INTEGER NOT NULL REFERENCES messages(seq)ON DELETE CASCADE, n INTEGER NOT NULL, kind TEXT NOT NULL CHECK(kind IN('image', 'document', 'audio', 'voice', 'video', 'other')), name TEXT, mime TEXT, size_bytes INTEGER, duration_s REAL, ref TEXT NOT NULL, state TEXT NOT NULL DEFAULT 'waiting' CHECK(state IN('waiting', 'kept', 'failed')), path TEXT, problem TEXT, fetched_at TEXT, UNIQUE(seq, n));

CREATE TABLE attempts(occurrence_id TEXT NOT NULL REFERENCES occurrences(id)ON DELETE CASCADE, attempt INTEGER NOT NULL, turn_id TEXT, started_at TEXT NOT NULL, ended_at TEXT, state TEXT NOT NULL, error TEXT, PRIMARY KEY(occurrence_id, attempt))WITHOUT ROWID;

CREATE TABLE chats(jid TEXT PRIMARY KEY, name TEXT, last_message_time TEXT, channel TEXT, is_group INTEGER DEFAULT 0);

CREATE TABLE compactions(id INTEGER PRIMARY KEY AUTOINCREMENT, group_folder TEXT NOT NULL, old_session TEXT NOT NULL, new_session TEXT, reason TEXT NOT NULL CHECK(reason IN('asked', 'full', 'too_long')), archive TEXT, messages INTEGER NOT NULL DEFAULT 0, tokens INTEGER, created_at TEXT NOT NULL, turn_id TEXT NOT NULL UNIQUE, focus TEXT NOT NULL DEFAULT '', upto INTEGER, keep_from INTEGER, for_turn TEXT);

CREATE TABLE event_log(id TEXT PRIMARY KEY, timestamp DATETIME DEFAULT CURRENT_TIMESTAMP, source TEXT NOT NULL, source_id TEXT, raw_content TEXT, summary TEXT, chat_jid TEXT, parent TEXT, disposition TEXT);

CREATE TABLE frames_out(run_id TEXT NOT NULL REFERENCES runs(id)ON DELETE CASCADE, n INTEGER NOT NULL, type TEXT NOT NULL, turn_id TEXT, body BLOB, PRIMARY KEY(run_id, n))WITHOUT ROWID;

CREATE TABLE held_messages(id INTEGER PRIMARY KEY AUTOINCREMENT, ask_id INTEGER NOT NULL REFERENCES asks(id)ON DELETE CASCADE, chat_jid TEXT NOT NULL, body TEXT NOT NULL, held_at TEXT NOT NULL);

CREATE TABLE host_calls(turn_id TEXT NOT NULL, call_id TEXT NOT NULL, name TEXT NOT NULL, ok INTEGER NOT NULL, content TEXT NOT NULL, event_id TEXT, created_at TEXT NOT NULL, PRIMARY KEY(turn_id, call_id))WITHOUT ROWID;

CREATE TABLE messages(seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL, chat_jid TEXT NOT NULL REFERENCES chats(jid), sender TEXT NOT NULL, sender_name TEXT, content TEXT, timestamp TEXT, is_from_me INTEGER DEFAULT 0, is_bot_message INTEGER DEFAULT 0, reply_to_message_id TEXT, reply_to_message_content TEXT, reply_to_sender_name TEXT, mentions_me INTEGER NOT NULL DEFAULT 0, thread TEXT, event_id TEXT, stored_at TEXT NOT NULL, outcome TEXT NOT NULL DEFAULT 'open', outcome_at TEXT, outcome_reason TEXT, turn_id TEXT, CHECK(outcome IN('open', 'answered', 'silent', 'ignored', 'refused', 'failed', 'cancelled')), UNIQUE(chat_jid, sender, id));

CREATE TABLE occurrences(id TEXT PRIMARY KEY, task_id TEXT NOT NULL, group_folder TEXT NOT NULL, chat_jid TEXT NOT NULL, due TEXT NOT NULL, state TEXT NOT NULL CHECK(state IN('planned', 'running', 'done', 'failed', 'skipped', 'missed', 'deleted')), event_id TEXT, claimed_at TEXT, ended_at TEXT, reason TEXT, next_try TEXT, UNIQUE(task_id, due));

CREATE TABLE outbox(ord INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, key TEXT NOT NULL UNIQUE, chat_jid TEXT NOT NULL, lane TEXT NOT NULL CHECK(lane IN('command', 'conversation')), kind TEXT NOT NULL DEFAULT 'text', thread TEXT, reply_to TEXT, edit_of TEXT, spool_path TEXT, text TEXT NOT NULL, turn_id TEXT, occurrence_id TEXT, action_id TEXT, created_at TEXT NOT NULL, due TEXT, expires TEXT, state TEXT NOT NULL DEFAULT 'queued' CHECK(state IN('queued', 'sending', 'sent', 'failed')), done_at TEXT, file_name TEXT, mime TEXT, buttons TEXT);

CREATE TABLE outbox_parts(outbox_id TEXT NOT NULL REFERENCES outbox(id)ON DELETE CASCADE, part INTEGER NOT NULL, text TEXT NOT NULL, state TEXT NOT NULL CHECK(state IN('queued', 'sending', 'sent', 'uncertain', 'failed')), attempts INTEGER NOT NULL DEFAULT 0, platform_id TEXT, error TEXT, next_try TEXT, sent_at TEXT, PRIMARY KEY(outbox_id, part))WITHOUT ROWID;

CREATE TABLE pairing_codes(code_hash TEXT PRIMARY KEY, created_at TEXT NOT NULL, expires_at TEXT NOT NULL, wrong_tries INTEGER NOT NULL DEFAULT 0, used_by TEXT)WITHOUT ROWID;

CREATE TABLE people(id TEXT PRIMARY KEY, channel TEXT NOT NULL, name TEXT NOT NULL, role TEXT NOT NULL, added_at TEXT NOT NULL)WITHOUT ROWID;

CREATE TABLE registered_groups(jid TEXT PRIMARY KEY, name TEXT NOT NULL, folder TEXT NOT NULL UNIQUE, trigger_pattern TEXT NOT NULL, added_at TEXT NOT NULL, container_config TEXT, requires_trigger INTEGER DEFAULT 1, is_main INTEGER DEFAULT 0, cursor_seq INTEGER NOT NULL DEFAULT 0, owner_seen_at TEXT, ask_tools TEXT, model TEXT);

CREATE TABLE router_state(key TEXT PRIMARY KEY, value TEXT NOT NULL)WITHOUT ROWID;

CREATE TABLE runs(id TEXT PRIMARY KEY, chat_jid TEXT NOT NULL, group_folder TEXT NOT NULL, runtime TEXT NOT NULL, token_hash TEXT NOT NULL, handle TEXT, state TEXT NOT NULL CHECK(state IN('live', 'ended')), last_frame INTEGER NOT NULL DEFAULT 0, last_host_frame INTEGER NOT NULL DEFAULT 0, started_at TEXT NOT NULL, ended_at TEXT, exit_reason TEXT, image TEXT);

CREATE TABLE scheduled_tasks(id TEXT PRIMARY KEY, group_folder TEXT NOT NULL, chat_jid TEXT NOT NULL, prompt TEXT NOT NULL, schedule_type TEXT NOT NULL, schedule_value TEXT NOT NULL, next_run TEXT, last_run TEXT, last_result TEXT, status TEXT DEFAULT 'active', created_at TEXT NOT NULL, context_mode TEXT DEFAULT 'isolated', script TEXT, workflow_id TEXT, kind TEXT NOT NULL DEFAULT 'prompt', zone TEXT, saved_state TEXT, catch_up TEXT NOT NULL DEFAULT 'once' CHECK(catch_up IN('once', 'skip', 'all')), model TEXT, parameters TEXT, failures INTEGER NOT NULL DEFAULT 0, why_paused TEXT);

CREATE TABLE schema_migrations(component TEXT NOT NULL, number INTEGER NOT NULL, checksum TEXT NOT NULL, applied_at TEXT NOT NULL, PRIMARY KEY(component, number))WITHOUT ROWID;

CREATE TABLE sessions(group_folder TEXT PRIMARY KEY, session_id TEXT NOT NULL, refusals INTEGER NOT NULL DEFAULT 0, tokens INTEGER);

CREATE TABLE task_run_logs(id INTEGER PRIMARY KEY AUTOINCREMENT, task_id TEXT NOT NULL REFERENCES scheduled_tasks(id)ON DELETE CASCADE, run_at TEXT NOT NULL, duration_ms INTEGER NOT NULL, status TEXT NOT NULL, result TEXT, error TEXT);

CREATE TABLE tool_call_log(id TEXT PRIMARY KEY, action_id TEXT REFERENCES action_log(id), timestamp DATETIME DEFAULT CURRENT_TIMESTAMP, tool_name TEXT NOT NULL, input TEXT, output TEXT, duration_ms INTEGER, success INTEGER DEFAULT 1, kind TEXT NOT NULL DEFAULT 'host', turn_id TEXT);

CREATE TABLE trace_counters(name TEXT PRIMARY KEY, n INTEGER NOT NULL)WITHOUT ROWID;

CREATE TABLE trace_rollup(bucket TEXT NOT NULL, what TEXT NOT NULL CHECK(what IN('event', 'action', 'tool', 'tool_failed')), key TEXT NOT NULL, n INTEGER NOT NULL, PRIMARY KEY(bucket, what, key))WITHOUT ROWID;

CREATE TABLE transcript(id INTEGER PRIMARY KEY AUTOINCREMENT, session_id TEXT NOT NULL, turn_id TEXT NOT NULL, role TEXT NOT NULL CHECK(role IN('user', 'assistant')), content TEXT NOT NULL, created_at TEXT NOT NULL);

CREATE TABLE turn_messages(turn_id TEXT NOT NULL REFERENCES turns(id)ON DELETE CASCADE, seq INTEGER NOT NULL, role TEXT NOT NULL CHECK(role IN('asked', 'context', 'follow_up')), frame INTEGER, accepted INTEGER NOT NULL DEFAULT 0, PRIMARY KEY(turn_id, seq))WITHOUT ROWID;

CREATE TABLE turns(id TEXT PRIMARY KEY, kind TEXT NOT NULL, chat_jid TEXT NOT NULL, group_folder TEXT NOT NULL, session_id TEXT NOT NULL, action_id TEXT NOT NULL, event_id TEXT NOT NULL, occurrence_id TEXT, thread TEXT, state TEXT NOT NULL CHECK(state IN('running', 'waiting', 'answered', 'silent', 'failed', 'cancelled')), tries INTEGER NOT NULL DEFAULT 0, empty_replies INTEGER NOT NULL DEFAULT 0, run_id TEXT, model TEXT, silent_by_tool INTEGER NOT NULL DEFAULT 0, started_at TEXT NOT NULL, ended_at TEXT, reason TEXT);

CREATE TABLE usage_log(id TEXT PRIMARY KEY, timestamp TEXT NOT NULL, group_jid TEXT NOT NULL, group_name TEXT NOT NULL, group_folder TEXT NOT NULL, input_tokens INTEGER DEFAULT 0, output_tokens INTEGER DEFAULT 0, cache_read_tokens INTEGER DEFAULT 0, cache_creation_tokens INTEGER DEFAULT 0, cost_usd REAL, duration_ms INTEGER DEFAULT 0, num_turns INTEGER DEFAULT 0, state TEXT NOT NULL DEFAULT 'closed' CHECK(state IN('open', 'closed', 'estimated')), run_id TEXT, turn_id TEXT, model TEXT, status INTEGER, request_bytes INTEGER);

CREATE INDEX idx_action_log_failed ON action_log(timestamp)WHERE failed = 1;

CREATE INDEX idx_action_log_timestamp ON action_log(timestamp);

CREATE INDEX idx_action_log_triggered_by ON action_log(triggered_by);

CREATE INDEX idx_action_log_turn ON action_log(turn_id)WHERE turn_id IS NOT NULL;

CREATE INDEX idx_asks_chat ON asks(chat_jid, kind);

CREATE INDEX idx_asks_open ON asks(expires_at)WHERE state = 'open';

CREATE INDEX idx_chats_last ON chats(last_message_time);

CREATE INDEX idx_compactions_for ON compactions(for_turn)WHERE for_turn IS NOT NULL;

CREATE INDEX idx_compactions_group ON compactions(group_folder, created_at);

CREATE INDEX idx_event_log_parent ON event_log(parent)WHERE parent IS NOT NULL;

CREATE INDEX idx_event_log_timestamp ON event_log(timestamp);

CREATE INDEX idx_held_messages_ask ON held_messages(ask_id);

CREATE INDEX idx_messages_chat ON messages(chat_jid, seq);

CREATE INDEX idx_messages_event ON messages(event_id);

CREATE INDEX idx_messages_open ON messages(chat_jid, seq)WHERE outcome = 'open';

CREATE INDEX idx_next_run ON scheduled_tasks(next_run);

CREATE INDEX idx_next_run_active ON scheduled_tasks(next_run)WHERE status = 'active' AND next_run IS NOT NULL;

CREATE INDEX idx_occurrences_due ON occurrences(due);

CREATE INDEX idx_occurrences_next_try ON occurrences(next_try)WHERE state = 'running' AND next_try IS NOT NULL;

CREATE INDEX idx_occurrences_open ON occurrences(group_folder, due)WHERE state = 'running';

CREATE INDEX idx_occurrences_task ON occurrences(task_id, due);

CREATE INDEX idx_outbox_done ON outbox(done_at)WHERE done_at IS NOT NULL;

CREATE INDEX idx_outbox_parts_sending ON outbox_parts(state)WHERE state IN('sending', 'uncertain');

CREATE INDEX idx_outbox_turn ON outbox(turn_id)WHERE turn_id IS NOT NULL;

CREATE INDEX idx_outbox_unsent ON outbox(chat_jid, lane, ord)WHERE state IN('queued', 'sending');

CREATE INDEX idx_runs_live ON runs(group_folder)WHERE state = 'live';

CREATE INDEX idx_status ON scheduled_tasks(status);

CREATE INDEX idx_task_run_logs ON task_run_logs(task_id, run_at);

CREATE INDEX idx_task_run_logs_run_at ON task_run_logs(run_at);

CREATE INDEX idx_tasks_group ON scheduled_tasks(group_folder, status);

CREATE INDEX idx_timestamp ON messages(timestamp);

CREATE INDEX idx_tool_call_log_action_id ON tool_call_log(action_id);

CREATE INDEX idx_tool_call_log_failed ON tool_call_log(timestamp)WHERE success = 0;

CREATE INDEX idx_transcript_session ON transcript(session_id, id);

CREATE INDEX idx_transcript_turn ON transcript(turn_id, id);

CREATE INDEX idx_turn_messages_seq ON turn_messages(seq);

CREATE INDEX idx_turns_group ON turns(group_folder, started_at);

CREATE UNIQUE INDEX idx_turns_one_a_group ON turns(group_folder)WHERE state = 'running';

CREATE INDEX idx_turns_open ON turns(chat_jid, started_at)WHERE state IN('running', 'waiting');

CREATE INDEX idx_turns_started ON turns(started_at);

CREATE INDEX idx_usage_group ON usage_log(group_jid);

CREATE INDEX idx_usage_timestamp ON usage_log(timestamp);

CREATE INDEX idx_usage_turn ON usage_log(turn_id);
