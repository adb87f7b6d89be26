"""Examines NOVA's database, AWS and the site, and says how to mend what is wrong."""
