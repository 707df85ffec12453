"""The desktop window and its worker (extra: app)."""
