"""Shows clients: their list and their page, groups, owners, comments, import and offboarding."""
