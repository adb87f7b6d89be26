"""The doctor's sentences about processes: NOVA's, others that read its tables, this site's workers, and its keys."""

from nova_credentials.messages import Sentence

# NOVA's reader
READER_READ = Sentence("reader_read", "NOVA's reader last read a client %(ago)s ago.")
READER_NEVER_READ = Sentence(
    "reader_never_read", "No process of NOVA has read through the package yet."
)
READERS_ARE_GONE = Sentence(
    "readers_are_gone",
    "No process of NOVA read through the package in the last hour; the last one did %(ago)s ago.",
)
LET_NOVA_READ = Sentence("let_nova_read", "Let NOVA read through the package: docs/reader.md.")
READERS_FAIL = Sentence(
    "readers_fail",
    "AWS failed for %(n)s processes of NOVA in the last 30 minutes.",
    one="AWS failed for %(n)s process of NOVA in the last 30 minutes.",
)
SEE_THE_READERS = Sentence(
    "see_the_readers",
    "The page “NOVA's processes” shows them with the class of the error. docs/reader.md has the IAM policy that NOVA"
    " needs.",
)

# Others that read the tables, above all NOVA's old helper
OTHER_READS = Sentence(
    "other_reads",
    "The role %(role)s reads %(tables)s past the package: the last time %(ago)s ago, %(n)s times in all.",
    one="The role %(role)s reads %(tables)s past the package: the last time %(ago)s ago, once in all.",
)
OTHER_HAS_READ = Sentence(
    "other_has_read",
    "The role %(role)s has read %(tables)s past the package, %(n)s times in all. When it did last is known an hour"
    " after it was first noticed.",
    one="The role %(role)s has read %(tables)s past the package, once in all. When it did is known an hour after it"
    " was first noticed.",
)
MORE_OTHER_READS = Sentence(
    "more_other_reads",
    "And %(n)s more statements read credential tables past the package.",
    one="And one more statement reads a credential table past the package.",
)
REPLACE_THE_HELPER = Sentence(
    "replace_the_helper",
    "Most likely NOVA's old helper: after a purge it gets a pointer in place of the password. Find the program on the"
    " page “NOVA's processes”, and let it read through the package (docs/reader.md).",
)
WAIT_AN_HOUR = Sentence(
    "wait_an_hour", "Check again in an hour, with workers running: they look every five minutes."
)
OTHERS_HAVE_STOPPED = Sentence(
    "others_have_stopped",
    "%(n)s statements have read credential tables past the package, none of them in the last hour.",
    one="One statement has read credential tables past the package, but not in the last hour.",
)
NO_OTHER_READS = Sentence(
    "no_other_reads",
    "pg_stat_statements shows no read of the credential tables past the package and this site.",
)
OTHER_READS_NOT_COUNTED = Sentence(
    "other_reads_not_counted",
    "PostgreSQL keeps no statistics of statements here, so nobody can say whether NOVA's old helper still reads.",
)
INSTALL_STATISTICS = Sentence(
    "install_statistics",
    "Put pg_stat_statements into shared_preload_libraries, start PostgreSQL anew and run, as a superuser:",
)
CREATE_STATISTICS = Sentence(
    "create_statistics",
    "PostgreSQL counts statements already. Run in this database, as a superuser:",
)
OTHER_READS_NOT_READABLE = Sentence(
    "other_reads_not_readable",
    "pg_stat_statements is installed, but this site can't read it: its role lacks the right, or the library is not in"
    " shared_preload_libraries.",
)
OTHER_READS_HIDDEN = Sentence(
    "other_reads_hidden", "PostgreSQL hides the statements of other roles from this site."
)
GRANT_STATISTICS = Sentence("grant_statistics", "Run, as somebody who may:")

# Workers
WORKERS_ARE_ALIVE = Sentence(
    "workers_are_alive",
    "%(n)s worker processes are alive: %(names)s.",
    glue=", ",
    one="%(n)s worker process is alive: %(names)s.",
)
WORKERS_TAKE_NO_TASKS = Sentence(
    "workers_take_no_tasks",
    "%(n)s worker processes are alive and take no tasks (%(names)s). %(why)s",
    glue=", ",
    one="%(n)s worker process is alive and takes no tasks (%(names)s). %(why)s",
)
CORRECT_OR_UPGRADE = Sentence(
    "correct_or_upgrade",
    "Give that host the settings of the others, or the release of the database's schema, and restart its workers.",
)
WORKERS_ARE_OLD = Sentence(
    "workers_are_old",
    "%(n)s worker processes run a release of before 0.2.0, and work on beside a schema that they don't know:"
    " %(names)s.",
    glue=", ",
    one="%(n)s worker process runs a release of before 0.2.0, and works on beside a schema that it doesn't know:"
    " %(names)s.",
)
STOP_OLD_WORKERS = Sentence(
    "stop_old_workers",
    "Stop them, and start those of the release that ran migrate (docs/upgrading.md).",
)
WORKERS_DO_NOTHING = Sentence(
    "workers_do_nothing", "The workers are alive, and have ended no task for %(ago)s."
)
START_WORKERS_ANEW = Sentence(
    "start_workers_anew",
    "Look whether all of them are on long searches or runs, and at the task queue. Otherwise start them anew: what they"
    " had begun is done again.",
)
WORKERS_ARE_GONE = Sentence(
    "workers_are_gone", "No worker is alive; the last one was seen %(ago)s ago."
)
NO_WORKER_EVER = Sentence("no_worker_ever", "No worker was ever seen.")
AUDIT_IS_SEALED = Sentence(
    "audit_is_sealed", "The audit's newest entries have their places in its chain."
)
AUDIT_NOT_SEALED = Sentence(
    "audit_not_sealed",
    "The audit has not been sealed for %(ago)s: entries that somebody removes now are not missed.",
)
SEAL_THE_AUDIT = Sentence(
    "seal_the_audit",
    "Run verify_audit: it seals what waits. See that workers run; if they do, ask who holds locks in the database, and"
    " why: SELECT * FROM pg_stat_activity.",
)
START_A_WORKER = Sentence(
    "start_a_worker",
    "Start one: python manage.py qcluster. Without it nothing is pushed or compared.",
)

# Keys
KEYS_READ_ALL = Sentence(
    "keys_read_all", "The keys read every second factor, and prove versions that this site wrote."
)
FACTORS_UNREADABLE = Sentence(
    "factors_unreadable",
    "The second factors of %(n)s users can't be read: they were encrypted with a SECRET_KEY that is not set here.",
    one="The second factor of %(n)s user can't be read: it was encrypted with a SECRET_KEY that is not set here.",
)
BRING_SECRET_KEY_BACK = Sentence(
    "bring_secret_key_back",
    "Put the former key into SECRET_KEY_FALLBACKS on every host. If it is lost, reset each: python manage.py"
    " reset_second_factor (docs/keys.md).",
)
BRING_VERSION_KEY_BACK = Sentence(
    "bring_version_key_back",
    "Restore the table migration_versionkey from a backup. Without one, compare each client and copy one way"
    " (docs/keys.md).",
)

# Hosts that differ
CORRECT_THE_SETTINGS = Sentence(
    "correct_the_settings",
    "Correct this host's settings and restart it. Only if all hosts are to have what it has:"
    " python manage.py claim_database --facts --reason TEXT (docs/keys.md, docs/aws-writes.md).",
)
UPGRADE_THIS_HOST = Sentence(
    "upgrade_this_host",
    "Install the release that ran migrate on this host too, and restart it (docs/upgrading.md).",
)
