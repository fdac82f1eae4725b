"""Telling people: mail, chat and webhooks, from the ledger. Nothing that happens to a notice can reach a failover."""
