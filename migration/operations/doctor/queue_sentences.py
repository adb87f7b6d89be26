"""The doctor's sentences about the workers' queue. They name where Redis is, and never its user or password."""

from nova_credentials.messages import Sentence

QUEUE_IS_IN_POSTGRES = Sentence("queue_is_in_postgres", "The workers' queue is in PostgreSQL.")
REDIS_TAKES_TASKS = Sentence(
    "redis_takes_tasks",
    "Redis at %(place)s takes tasks and keeps them. %(n)s wait for a worker.",
    one="Redis at %(place)s takes tasks and keeps them. One waits for a worker.",
)
REDIS_IS_AWAY = Sentence("redis_is_away", "Redis at %(place)s can't be reached (%(code)s).")
REDIS_REFUSES_LOGIN = Sentence(
    "redis_refuses_login",
    "Redis at %(place)s refuses the login: NOVA_REDIS_URL has a wrong user or password, or none.",
)
REDIS_LACKS_RIGHTS = Sentence(
    "redis_lacks_rights", "The user of NOVA_REDIS_URL may not use the queue in Redis at %(place)s."
)
GRANT_IN_REDIS = Sentence(
    "grant_in_redis",
    "In Redis' ACL allow that user the commands RPUSH, BLPOP, LLEN and PING on the keys that begin with"
    " django_q:nova_admin:.",
)
REDIS_TAKES_NO_WRITES = Sentence(
    "redis_takes_no_writes",
    "Redis at %(place)s takes no writes: it is a replica.",
)
NAME_THE_PRIMARY = Sentence(
    "name_the_primary", "Name the Redis that takes writes in NOVA_REDIS_URL, on all hosts alike."
)
REDIS_IS_FULL = Sentence("redis_is_full", "Redis at %(place)s is full, so no task can be queued.")
MAKE_ROOM_IN_REDIS = Sentence(
    "make_room_in_redis", "Remove what others keep in it, or raise its maxmemory."
)
REDIS_REFUSES_TASKS = Sentence(
    "redis_refuses_tasks", "Redis at %(place)s refuses to queue a task (%(code)s)."
)
SEE_REDIS_LOG = Sentence(
    "see_redis_log",
    "Look at Redis' own log, and whether it has a database of the number at the end of NOVA_REDIS_URL.",
)
REACH_REDIS = Sentence(
    "reach_redis",
    "Start Redis, or correct NOVA_REDIS_URL on all hosts. Nothing is lost meanwhile: runs are queued again within two"
    " minutes after it is back.",
)
REDIS_EVICTS = Sentence(
    "redis_evicts",
    "Redis at %(place)s throws keys away when it is full (maxmemory-policy %(policy)s): all waiting tasks at once.",
)
KEEP_KEYS_IN_REDIS = Sentence(
    "keep_keys_in_redis",
    "Set maxmemory-policy noeviction, or take a Redis that is no cache. docs/scaling.md has more.",
)
REDIS_POLICY_UNKNOWN = Sentence(
    "redis_policy_unknown",
    "Redis at %(place)s does not say whether it throws keys away when it is full (maxmemory-policy).",
)
ASK_FOR_POLICY = Sentence(
    "ask_for_policy", "Ask whoever runs it: it has to be noeviction. Or allow the user INFO."
)
REDIS_IS_SLOW = Sentence(
    "redis_is_slow",
    "Redis at %(place)s took %(seconds)s s for two commands. Pages that start a run wait for it.",
)
LOOK_FOR_SLOWNESS = Sentence(
    "look_for_slowness", "Look at the network in between, and at Redis' SLOWLOG."
)
TASKS_LEFT_IN_POSTGRES = Sentence(
    "tasks_left_in_postgres",
    "%(n)s tasks are in PostgreSQL's queue, from which no worker with NOVA_REDIS_URL takes any.",
    one="A task is in PostgreSQL's queue, from which no worker with NOVA_REDIS_URL takes any.",
)
SET_THE_SAME_QUEUE = Sentence(
    "set_the_same_queue",
    "Give the site and all hosts the same NOVA_REDIS_URL. Runs and searches whose tasks these were are queued again"
    " within two minutes, so the tasks can be removed:",
)
SCHEDULE_WAS_CHANGED = Sentence(
    "schedule_was_changed",
    "The workers' schedule was changed by something other than this site, last %(ago)s ago, and put back: %(names)s.",
    glue="; ",
)
FIND_WHO_CHANGED_IT = Sentence(
    "find_who_changed_it",
    "Look for who writes the site's tables: above all a trigger or rule on NOVA's tables (see the check of objects of"
    " others). Hosts with different releases or settings do so too: give all the same, and run migrate.",
)
TASKS_WERE_DROPPED = Sentence(
    "tasks_were_dropped",
    "Tasks in the queue that no host could read were dropped, last %(ago)s ago. The schedule queues again what there is"
    " to do.",
)
GIVE_HOSTS_THE_SAME_KEYS = Sentence(
    "give_hosts_the_same_keys",
    "Give site and workers the same SECRET_KEY, and the former one as SECRET_KEY_FALLBACKS (docs/keys.md). If no key"
    " was changed, look for who else writes into the queue.",
)
