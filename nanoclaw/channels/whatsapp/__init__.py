"""WhatsApp: `channel.WhatsAppChannel` and `settings.WhatsAppSettings`; the library behind it is loaded in `child` alone.

Nothing is imported here, because the child is in this package, too, and has no use for the channel.
"""
