"""The desktop window and what works behind it (extra: app)."""
