"""Memory and bytes of the processes of sites that exchange shards, beside sites whose rank 0 exchanges the whole."""
