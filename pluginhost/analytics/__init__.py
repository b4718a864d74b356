"""How plugins are used: counts, reliability, uptime, windows and trends."""
