"""Running tiles on a cluster: the command line, the lease, the ledger, the runner. The only home of dask."""
