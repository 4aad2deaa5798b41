"""WhatsApp, through a child process that owns the library."""
