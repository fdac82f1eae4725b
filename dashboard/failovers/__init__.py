"""Ask → approve → execute → verify: the failover itself, from the question to the reading that proves the end.

Twelve rules, and the modules that keep them; the docstring of each says how, by the rule's number:

 1. The database is the queue, and a message is a doorbell: lost, doubled or late, it changes latency only.
    (bell, tasks, sweep)
 2. One intent, committed before the first byte. Nothing sends from any state but the one that this intent just left.
    (execution, lifecycle)
 3. Nothing is sent again on a timeout, a reset, an error or a death; only on the proof that no byte left. (execution)
 4. A dead process can still send: the kernel's attempts are bounded, and a settle window waits them out. (timing)
 5. After the settle window a person decides, not a timer; a second try is a new request. (closing, lifecycle)
 6. An approval has a time until which it may be used, asked in the transaction of the intent. (execution, conduct)
 7. No record, no act: each change has its entry in the same transaction. (moves)
 8. What answers must be what was approved: cluster, relationship, directory, paths. (plan, preflight, watching)
 9. Four eyes are compared by the database, on persons and on a digest, with no exception for anybody. (guards, eyes)
10. A database that went back in time, or lost its guards, comes up held. (selfcheck, holds)
11. Success is written after readings of the cluster, never from the answer to the POST. (watching)
12. Each rule can be switched off in a copy, and then a test fails: tests/model names those mutants. (crashpoints)

`policy` and its neighbours say who must approve what; `reading`, `readings` and `story` say it to people.
"""
