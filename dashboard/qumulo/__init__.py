"""The storage clusters' REST API: a thin client, and records that can be trusted. Knows no Django and nothing
of ours.

`client` asks, `records` is what comes back, `errors` is what can go wrong and whether it had an effect. Below
them: `wire` (deadline, address check, send window), `trust` (certificates), `addresses` (where a cluster may
be), `edge` (bytes of a stranger become plain values) and `inferred` (what nobody documents about this API).
"""
