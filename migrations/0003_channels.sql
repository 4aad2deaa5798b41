-- What the chat services bring besides text: files in both directions, buttons, and questions to an owner.

-- A file that came with a message. It is fetched when an agent is to read the message, into the group's own folder.
CREATE TABLE attachments (
  id INTEGER PRIMARY KEY AUTOINCREMENT, seq INTEGER NOT NULL REFERENCES messages(seq) ON DELETE CASCADE, n INTEGER NOT NULL,
  kind TEXT NOT NULL CHECK (kind IN ('image','document','audio','voice','video','other')),
  name TEXT,                               -- as its sender calls it: shown, never used as a path
  mime TEXT, size_bytes INTEGER, duration_s REAL,
  ref TEXT NOT NULL,                       -- the channel's own reference, by which it fetches the file
  state TEXT NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting','kept','failed')),
  path TEXT,                               -- below the group's folder, a name of our own
  problem TEXT,                            -- why there is no file, in words for a person
  fetched_at TEXT, UNIQUE (seq, n)
);

ALTER TABLE outbox ADD COLUMN file_name TEXT;   -- what the receiver sees; the bytes are at spool_path
ALTER TABLE outbox ADD COLUMN mime TEXT;
ALTER TABLE outbox ADD COLUMN buttons TEXT;     -- JSON: [[label, command], …]

ALTER TABLE asks ADD COLUMN payload TEXT;       -- JSON: what the answer is about
ALTER TABLE asks ADD COLUMN outbox_key TEXT;    -- the entry that puts the question, for answers by a reply
CREATE INDEX idx_asks_open ON asks(expires_at) WHERE state = 'open';
CREATE INDEX idx_asks_chat ON asks(chat_jid, kind);
CREATE INDEX idx_held_messages_ask ON held_messages(ask_id);

ALTER TABLE registered_groups ADD COLUMN ask_tools TEXT;  -- JSON: host tools that need a yes of an owner
