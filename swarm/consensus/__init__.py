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
| ``paxos``, ``promises`` | order of leaders; what an acceptor has promised, and what a leader was promised |
| ``checking`` | whether a proposal is what its offers make of the round |
| ``strikes`` | who is left out because attempts failed with it, and for how long |
| ``forming``, ``shares`` | pure functions: whom a leader puts into a group, and with which weight |
| ``norms`` | whose contribution is left out, by how far it has moved |
| ``best`` | which committed model is the best one |
| ``rules``, ``timing``, ``effects`` | the settings, the time-outs, and the outputs |
"""
