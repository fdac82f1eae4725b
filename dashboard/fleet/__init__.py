"""Clusters, and what was last seen on them.

This room owns the one door to a cluster (`access`), the reading of it (`observe`), and the judgement of what was
read (`health`). It knows nothing of requests and approvals: a failover marks its relationship through `hold_rows`.
"""
