"""The storage clusters' REST API: a thin client, and records that can be trusted. Knows no Django and nothing of ours.

For everybody: `client` asks, `records` is what comes back, `errors` is what can go wrong and whether it had an effect,
`trust` and `addresses` say who a cluster is and where it may be, `inferred` is what nobody documents about this API.
Inside: `wire` (deadline, address check, send window), `answers` (an answer, a refusal or doubt?), `shapes` (the types
of the records) and `edge` (bytes of a stranger become plain values).
"""
