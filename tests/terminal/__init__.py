"""The shell in a real terminal: what a user sees, and what is left of the terminal afterwards."""
