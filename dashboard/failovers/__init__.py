"""Ask → approve → execute → verify: the failover itself, from the question to the reading that proves the end.

`conduct` argues the guarantee (at most one make-writable, whatever dies); `lifecycle` is the table of states;
`preflight` the one list of checks; `timing` every time of the protocol; `guards` what the database refuses by itself.
"""
