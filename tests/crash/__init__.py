"""A broker that is killed at random moments, clients that go on, and a ledger that counts."""
