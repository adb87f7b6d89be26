"""The doctor's sentences: what a check found, and what to do. A statement to paste stands beside them, not in them."""

from nova_credentials.messages import Sentence

# Whatever the check
NOT_ASKED_YET = Sentence(
    "not_asked_yet",
    "Asked only by “Check everything now”, which operators can press, and by python manage.py check_nova.",
)
COULD_NOT_ASK = Sentence("could_not_ask", "PostgreSQL gave no answer to this check (%(code)s).")
SEE_THE_LOG = Sentence("see_the_log", "PostgreSQL's log says why. Correct it, then check again.")
MIGRATE_FIRST = Sentence(
    "migrate_first",
    "Run: python manage.py migrate. It says what to grant, if something is lacking.",
)
TAKE_THE_RIGHT_AWAY = Sentence(
    "take_the_right_away", "Take the right away, as the owner or as a superuser:"
)

# The site's schema
SCHEMA_IS_OURS = Sentence(
    "schema_is_ours",
    "The schema %(schema)s belongs to the site's role %(role)s, and nobody else may create in it.",
)
SCHEMA_IS_MISSING = Sentence("schema_is_missing", "The schema %(schema)s does not exist.")
MAKE_THE_SCHEMA = Sentence(
    "make_the_schema",
    "Somebody who may create in this database has to run this; then run python manage.py migrate:",
)
SCHEMA_IS_FOREIGN = Sentence(
    "schema_is_foreign",
    "The schema %(schema)s belongs to %(owner)s, and the site connects as %(role)s.",
)
CONNECT_AS_OWNER = Sentence(
    "connect_as_owner",
    "Let the site connect as %(owner)s. If the schema was made for this site, hand it over, as its owner:",
)
OTHERS_MAY_CREATE = Sentence(
    "others_may_create",
    "Others may create in the schema %(schema)s: %(roles)s. Their objects could be mistaken for the site's.",
)
FOREIGN_OBJECTS = Sentence(
    "foreign_objects", "Other roles own objects in the schema %(schema)s: %(objects)s.", glue=", "
)
DROP_OR_HAND_OVER = Sentence(
    "drop_or_hand_over",
    "Drop those that aren't the site's. Hand over those that are (REASSIGN OWNED BY … TO …).",
)
NOT_MIGRATED = Sentence(
    "not_migrated",
    "%(n)s schema migrations of this release have not run.",
    one="%(n)s schema migration of this release has not run.",
)
MIGRATED = Sentence("migrated", "Every schema migration of this release has run.")

# PostgreSQL's log
LOG_HOLDS_NO_VALUES = Sentence(
    "log_holds_no_values", "PostgreSQL's log holds no value of the site's statements."
)
LOG_MAY_HOLD_VALUES = Sentence(
    "log_may_hold_values",
    "PostgreSQL's log may hold values of the site's statements, secrets too: %(settings)s.",
    glue=", ",
)
QUIET_THE_LOG = Sentence(
    "quiet_the_log",
    "Run what stands here as a superuser (docs/production.md), then start the site and its workers anew:",
)

# Writes to AWS; what is wrong is told in the words of `migration.sentences`
SEE_AWS_WRITES = Sentence(
    "see_aws_writes",
    "The page AWS writes shows what this database is, and lets writes go on (docs/aws-writes.md). Never claim staging.",
)

# Who may create where
EVERYBODY_MAY_CREATE = Sentence(
    "everybody_may_create",
    "Every role may create in %(place)s, and so stand in the way of NOVA's own statements.",
)
SOME_MAY_CREATE = Sentence(
    "some_may_create",
    "In %(place)s these roles may create, besides superusers: %(roles)s. The site looks for nothing of theirs.",
    glue=", ",
)
NOBODY_MAY_CREATE = Sentence("nobody_may_create", "In %(place)s nobody but superusers may create.")

# Owners, and the boundary between NOVA and the site
OWNED_BY = Sentence("owned_by", "%(owner)s owns %(tables)s.", glue=", ")
TABLE_IS_MISSING = Sentence("table_is_missing", "NOVA's table %(table)s does not exist.")
NO_NOVA_TABLES = Sentence(
    "no_nova_tables", "NOVA's tables do not exist, so nobody knows NOVA's role."
)
ROLES_ARE_APART = Sentence(
    "roles_are_apart",
    "NOVA's role %(role)s can't act as the site's role %(site)s.",
)
SAME_ROLE = Sentence(
    "same_role",
    "No boundary exists: NOVA's role %(role)s is the site's own. Whoever has NOVA's database password can change"
    " phases, users and records of the site.",
)
NOVA_IS_SUPERUSER = Sentence(
    "nova_is_superuser",
    "No boundary exists: NOVA's role %(role)s is a superuser. Whoever has NOVA's database password can change phases,"
    " users and records of the site.",
)
NOVA_IS_MEMBER = Sentence(
    "nova_is_member",
    "No boundary exists: NOVA's role %(role)s is a member of the site's role %(site)s and can act as it.",
)
NOVA_MAKES_MEMBERS = Sentence(
    "nova_makes_members",
    "No boundary exists: NOVA's role %(role)s has CREATEROLE, by which it can become a member of the site's role"
    " %(site)s on this PostgreSQL.",
)
NOVA_HAS_POWERS = Sentence(
    "nova_has_powers",
    "No boundary exists: NOVA's role %(role)s is a member of %(powers)s, and so can reach the site's tables.",
)
SITE_IS_SUPERUSER = Sentence(
    "site_is_superuser",
    "The site's role %(role)s is a superuser: what an owner attaches to NOVA's tables then runs with every right.",
)
MAKE_A_ROLE = Sentence(
    "make_a_role",
    "Give NOVA and the site a role each, neither of them a superuser (docs/check_nova.md). If your host offers one role"
    " only, know that the site can't protect itself from NOVA there.",
)

# The rights of the site, and of NOVA's reader
SITE_HAS_RIGHTS = Sentence(
    "site_has_rights", "%(role)s has the rights on NOVA's tables that the site needs."
)
SITE_LACKS_RIGHTS = Sentence(
    "site_lacks_rights",
    "%(role)s lacks %(n)s rights on NOVA's tables that the site needs.",
    one="%(role)s lacks %(n)s right on NOVA's tables that the site needs.",
)
GRANT_AS_OWNER = Sentence(
    "grant_as_owner",
    "Run, as the owner of NOVA's tables or as a superuser, and then python manage.py migrate:",
)
NO_OTHER_ROLE = Sentence(
    "no_other_role",
    "NOVA's tables belong to the site's own role, so the role by which NOVA connects is not known. The site's role"
    " needs no grants.",
)
NAME_THE_ROLE = Sentence(
    "name_the_role",
    "If NOVA connects as another role, name it: python manage.py check_nova --role ROLE.",
)
RIGHTS_ARE_RIGHT = Sentence(
    "rights_are_right",
    "%(role)s has the rights that NOVA's reader needs, and no others on the site's tables.",
)
RIGHTS_OF_EVERYTHING = Sentence(
    "rights_of_everything",
    "%(role)s has the rights that NOVA's reader needs, and by its other rights all on the site's tables.",
)
RIGHTS_ARE_LACKING = Sentence(
    "rights_are_lacking",
    "%(role)s lacks %(n)s rights that NOVA's reader needs.",
    one="%(role)s lacks %(n)s right that NOVA's reader needs.",
)
GRANT_THEM = Sentence("grant_them", "Run, as the site's role or as a superuser:")
NOTHING_TO_GRANT_ON = Sentence(
    "nothing_to_grant_on",
    "These do not exist yet, so nobody can have rights on them: %(objects)s.",
    glue=", ",
)
RIGHTS_TOO_MANY = Sentence(
    "rights_too_many",
    "%(role)s has %(n)s rights on the site's tables that NOVA's reader doesn't need.",
    one="%(role)s has %(n)s right on the site's tables that NOVA's reader doesn't need.",
)
REVOKE_THEM = Sentence("revoke_them", "Take them away, as the site's role or as a superuser:")

# Counting
TRIGGERS_COUNT = Sentence(
    "triggers_count", "The triggers are on all four tables, unchanged, and count every write."
)
TRIGGERS_ARE_MISSING = Sentence(
    "triggers_are_missing", "Writes are not counted on %(tables)s.", glue=", "
)
FUNCTION_IS_ANOTHER = Sentence(
    "function_is_another", "The triggers' function is not this release's."
)
GAP_IS_OPEN = Sentence(
    "gap_is_open", "Writes may have gone uncounted; noticed %(ago)s ago, not mended yet."
)
TRIGGERS_WERE_CHANGED = Sentence(
    "triggers_were_changed",
    "Somebody changed the triggers: writes may have gone uncounted meanwhile.",
)
WORKERS_MEND_IT = Sentence(
    "workers_mend_it",
    "The workers mend it within a minute or two, if no other check stands in the way.",
)
UPDATES_ARE_COUNTED = Sentence(
    "updates_are_counted", "An update, tried and undone, was counted on %(tables)s.", glue=", "
)
TABLES_ARE_EMPTY = Sentence(
    "tables_are_empty", "No row to try an update on, and none to miss: %(tables)s.", glue=", "
)
UPDATE_WAS_NOT_COUNTED = Sentence(
    "update_was_not_counted",
    "An update, tried and undone, was not counted on %(tables)s.",
    glue=", ",
)
LOOK_FOR_THE_CAUSE = Sentence(
    "look_for_the_cause",
    "Look for a missing right to UPDATE, and for a rule or another trigger on these tables.",
)
TABLES_ARE_BUSY = Sentence(
    "tables_are_busy", "In use, so no update could be tried: %(tables)s.", glue=", "
)
TRY_AGAIN = Sentence("try_again", "Check again in a moment.")
NEVER_PROVED = Sentence(
    "never_proved", "It was not proved on all tables yet that an update is counted."
)
PROOF_IS_OLD = Sentence("proof_is_old", "The newest proof is %(ago)s old.")
PROVE_IT = Sentence(
    "prove_it",
    "Press “Check everything now”, or run python manage.py check_nova; workers do it every hour.",
)

# NOVA's tables
COLUMNS_ARE_KNOWN = Sentence(
    "columns_are_known", "The site knows every column of NOVA's tables, and finds those it needs."
)
SEE_NOVA_TABLES = Sentence(
    "see_nova_tables",
    "Ask NOVA's developers what it is for, then decide on the page NOVA's tables (docs/nova-tables.md).",
)
PURGE_AGAIN = Sentence(
    "purge_again",
    "The page NOVA's tables names them all; docs/nova-tables.md says how to restore and purge them.",
)
NO_FOREIGN_OBJECTS = Sentence(
    "no_foreign_objects",
    "No trigger, rule, policy, domain, default or the like of others is on NOVA's tables.",
)
FOREIGN_OBJECT = Sentence(
    "foreign_object",
    "%(table)s has an object that runs code of %(owner)s as whoever uses the table: %(kind)s %(name)s.",
)
OBJECTS_WERE_ACCEPTED = Sentence(
    "objects_were_accepted",
    "%(n)s objects of others were accepted as they are now.",
    one="%(n)s object of others was accepted as it is now.",
)
MORE_OBJECTS = Sentence("more_objects", "And %(n)s objects more.", one="And %(n)s object more.")

# The pooler
BACKENDS_ARE_OWN = Sentence(
    "backends_are_own",
    "Each of %(n)s connections kept a PostgreSQL process of its own, and a lock its holder, over %(statements)s"
    " statements.",
)
BACKENDS_ARE_SHARED = Sentence(
    "backends_are_shared",
    "Connections share PostgreSQL's processes: a pooler in transaction mode, such as PgBouncer, is in between. The"
    " site's locks don't hold there, so two pushes of one client could overwrite each other.",
)
CONNECT_DIRECTLY = Sentence(
    "connect_directly",
    "Point the site's DATABASE_URL at PostgreSQL itself, or at a pool in session mode. NOVA's reader may use any pool.",
)
NO_FURTHER_CONNECTIONS = Sentence(
    "no_further_connections", "%(n)s more connections could not be opened and tried in time."
)
MAKE_ROOM = Sentence(
    "make_room", "A worker process alone needs six: raise max_connections, or the size of the pool."
)

# Copies of secret values
COPIES_NOT_LOOKED_FOR = Sentence(
    "copies_not_looked_for",
    "Nobody has looked where else the database holds secret values.",
)
LOOK_FOR_COPIES = Sentence(
    "look_for_copies",
    "Search for them on the page Copies, or run: python manage.py find_copies --all.",
)
COPIES_WERE_FOUND = Sentence(
    "copies_were_found",
    "Secret values of %(n)s clients stand elsewhere in the database too (searched %(ago)s ago or later).",
    one="Secret values of %(n)s client stand elsewhere in the database too (searched %(ago)s ago).",
)
LIST_THE_COPIES = Sentence(
    "list_the_copies",
    "python manage.py find_copies --all lists table, column and rows, never a value. A purge leaves them there.",
)
COPIES_SOUGHT_IN_PART = Sentence(
    "copies_sought_in_part",
    "For %(n)s clients the database was not searched whole.",
    one="For %(n)s client the database was not searched whole.",
)
NO_COPIES = Sentence(
    "no_copies",
    "No copies of the secret values of %(n)s clients were found (searched %(ago)s ago or later).",
    one="No copies of the secret values of %(n)s client were found (searched %(ago)s ago).",
)

# Clocks
CLOCK_POSTGRES = Sentence("clock_postgres", "PostgreSQL's clock")
CLOCK_AWS = Sentence("clock_aws", "AWS's clock")
CLOCK_AGREES = Sentence("clock_agrees", "%(whose)s agrees with this host's.")
CLOCK_IS_AHEAD = Sentence(
    "clock_is_ahead",
    "%(whose)s is %(n)s seconds ahead of this host's.",
    one="%(whose)s is %(n)s second ahead of this host's.",
)
CLOCK_IS_BEHIND = Sentence(
    "clock_is_behind",
    "%(whose)s is %(n)s seconds behind this host's.",
    one="%(whose)s is %(n)s second behind this host's.",
)
HOST_CLOCK_AHEAD = Sentence(
    "host_clock_ahead",
    "The clock of the workers' host %(host)s is %(n)s seconds ahead of PostgreSQL's.",
    one="The clock of the workers' host %(host)s is %(n)s second ahead of PostgreSQL's.",
)
HOST_CLOCK_BEHIND = Sentence(
    "host_clock_behind",
    "The clock of the workers' host %(host)s is %(n)s seconds behind PostgreSQL's.",
    one="The clock of the workers' host %(host)s is %(n)s second behind PostgreSQL's.",
)
SET_THE_CLOCKS = Sentence(
    "set_the_clocks",
    "Let the hosts take their time from NTP. AWS refuses what is signed five minutes early or late.",
)
CLOCK_NOT_ASKED = Sentence("clock_not_asked", "AWS's clock: no answer (%(code)s).")
REACH_AWS = Sentence(
    "reach_aws",
    "Look at this host's network, its proxy and its AWS settings, then check again.",
)

# Versions that wait to be current
NO_VERSION_PENDING = Sentence(
    "no_version_pending",
    "None of %(n)s secrets has a version that waits to be current (AWSPENDING).",
    one="The one secret has no version that waits to be current (AWSPENDING).",
)
VERSIONS_PENDING = Sentence(
    "versions_pending",
    "%(n)s secrets have a version that waits to be current (AWSPENDING): %(names)s. A rotation is under way, or was"
    " interrupted.",
    one="A secret has a version that waits to be current (AWSPENDING): %(names)s. A rotation is under way, or was"
    " interrupted.",
    glue=", ",
)
TAKE_PENDING_OFF = Sentence(
    "take_pending_off",
    "Let the rotation end. If none is under way, open Versions on the client's page: a version of this site loses the"
    " stage there, once the current login is proven.",
)
STAGES_NOT_ASKED = Sentence(
    "stages_not_asked", "AWS did not list the versions of the secrets (%(code)s)."
)
STAGES_IN_PART = Sentence(
    "stages_in_part", "Only the first %(n)s secrets were looked at: a client's page shows its own."
)
