"""The link as the cloud sees it: the ledger, what devices declare, delays, identities that are shared."""
