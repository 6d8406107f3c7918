"""The page from which everybody enters the city, and where anybody may pull a plug."""
