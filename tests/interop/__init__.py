"""PopShell against programs that it did not write, and the helpers for that; other tests may import them."""
