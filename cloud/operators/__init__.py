"""People who run the fleet: accounts, sessions, what they may do and what they did."""
