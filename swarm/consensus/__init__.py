"""Who merges with whom and what is committed: a state machine without I/O, threads or clocks.

| module | role |
| --- | --- |
| ``machine`` | the entry point: takes inputs, passes them to the roles, returns effects |
| ``founding`` | the founding round: who starts from whose weights |
| ``leader`` | who leads the round, and which peer takes over when that one fails |
| ``attempt`` | one attempt that this peer leads: prepare, form, exchange, accept, decide |
| ``member`` | this peer in the attempts of others, and as a voter |
| ``catchup`` | commits that this peer missed |
| ``waiting`` | when a sync point ends without a merge |
| ``state`` | the facts that the roles share, each with one owner |
| ``paxos`` | order of leaders, majorities, and what an acceptor has promised |
| ``forming``, ``norms`` | pure functions: whom a leader puts into a group, and whose contribution is left out |
| ``rules``, ``timing``, ``effects`` | the settings, the time-outs, and the outputs |
"""
