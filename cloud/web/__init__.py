"""What the pages and the HTTP listeners of all ways share: layout, languages, errors, limits."""
