"""PopShell: a shell in which people learn POP3 by speaking it. docs/architecture.md tells the way of one keystroke."""

__version__ = "0.1.0"
