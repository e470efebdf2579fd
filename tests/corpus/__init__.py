"""A recorded corpus: what the program puts out for many inputs, and the program that records and compares it."""
