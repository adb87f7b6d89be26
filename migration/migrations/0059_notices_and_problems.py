"""Notices without digests: what waited to be told together is put together now, and its sentence stored.

What holds already for clients was told when it began: it is known as held, so that nobody is told of it again. What the
newest look for each problem found is kept; conditions of the site that are open go on as problems, told as before. A
mismatch has no assignee of its own: who looks after its client looks at it. Users keep no views of the client list.
"""

from django.db import migrations, models

from migration.core.fields import MessageField, OwnJSONField
from migration.schema_operations import ChangeTogether, create_model

# Of each digest that waits one notice stays, with the numbers and the first names of all.
PUT_TOGETHER = """
UPDATE migration_notice AS kept SET
    number = (
        SELECT sum(number) FROM migration_notice
        WHERE digest = kept.digest AND handed_out_at IS NULL
    ),
    names = (
        SELECT to_jsonb((array_agg(DISTINCT name))[:6])
        FROM migration_notice, jsonb_array_elements_text(names) AS name
        WHERE digest = kept.digest AND handed_out_at IS NULL
    )
WHERE id IN (
    SELECT min(id) FROM migration_notice WHERE digest <> '' AND handed_out_at IS NULL GROUP BY digest
)
"""
DROP_OTHERS = """
DELETE FROM migration_notice WHERE digest <> '' AND handed_out_at IS NULL AND id NOT IN (
    SELECT min(id) FROM migration_notice WHERE digest <> '' AND handed_out_at IS NULL GROUP BY digest
)
"""
STORE_SENTENCES = """
UPDATE migration_notice AS notice SET facts = jsonb_build_object(
    'key', sentence.key,
    'values', jsonb_build_object('n', notice.number, 'names', told.names),
    'text', format(sentence.text, notice.number, told.text)
)
FROM migration_notice AS waiting
JOIN (VALUES
    ('mismatches', 'mismatches_opened', '%s more fields differ between PostgreSQL and AWS. Clients: %s'),
    ('stopped', 'rotations_stopped', '%s rotations stopped, and somebody has to look which secret is valid: %s'),
    ('refused', 'rotations_refused', '%s rotations failed, and changed nothing: %s'),
    ('overdue', 'rotations_overdue', 'The database passwords of %s more clients are overdue for their rotation: %s'),
    ('copies', 'search_found_copies', 'A search found copies of secret values in %s more places. Clients: %s')
) AS sentence (topic, key, text) ON sentence.topic = split_part(waiting.digest, ':', 1)
CROSS JOIN LATERAL (
    SELECT jsonb_agg(shown) AS names, string_agg(shown, ', ') AS text FROM (
        SELECT CASE WHEN place < 6 THEN name ELSE '…' END AS shown
        FROM jsonb_array_elements_text(waiting.names) WITH ORDINALITY AS each (name, place) ORDER BY place
    ) AS first_names
) AS told
WHERE waiting.id = notice.id
"""
MARK_OVER = "UPDATE migration_notice SET is_over = true WHERE key LIKE '%:over'"
HELD = """
INSERT INTO migration_condition (event, subject, began_at, seen_at)
SELECT 'mismatch', concat(client_id, ':', id), first_seen_at, now() FROM migration_openmismatch
UNION ALL
SELECT concat('rotation_', outcome), concat(client_id, ':', id), ended_at, now() FROM migration_rotation AS held
WHERE outcome IN ('stopped', 'refused') AND NOT EXISTS (
    SELECT FROM migration_rotation AS later
    WHERE later.client_id = held.client_id AND later.credential_type = held.credential_type
        AND later.label IS NOT DISTINCT FROM held.label AND later.id > held.id AND later.outcome <> ''
)
UNION ALL
SELECT 'copies_found', left(concat(client_id, ':', "table", '.', "column"), 100), now(), now()
FROM migration_foundcopy JOIN (
    SELECT DISTINCT ON (client_id) client_id, search_id FROM migration_searchedclient
    ORDER BY client_id, searched_at DESC, id DESC
) AS newest USING (client_id, search_id)
ON CONFLICT (event, subject) DO NOTHING
"""

# Of several who were to look at fields of one client, the one with the most.
OWNERS = """
INSERT INTO migration_clientowner (client_id, owner_id)
SELECT DISTINCT ON (client_id) client_id, assignee_id FROM migration_openmismatch WHERE assignee_id IS NOT NULL
GROUP BY client_id, assignee_id ORDER BY client_id, count(*) DESC, assignee_id
ON CONFLICT (client_id) DO NOTHING
"""
# Who was to look at fields of a client and is not its owner now stands in a comment.
OTHERS = """
INSERT INTO migration_clientcomment (client_id, slug, text, by_name, left_at)
SELECT open.client_id, min(open.slug), left('Until the upgrade these fields that differ were assigned to '
    || min(person.username) || ': ' || string_agg(coalesce(nullif(open.path, ''), 'the whole secret'), ', '
    ORDER BY open.path) || '.', 500), 'NOVA Admin', now()
FROM migration_openmismatch AS open JOIN auth_user AS person ON person.id = open.assignee_id
JOIN migration_clientowner AS owned USING (client_id) WHERE owned.owner_id <> open.assignee_id
GROUP BY open.client_id, open.assignee_id
"""

# What the workers noted at each look.
LAST_LOOK = "last look"
# Event and subject of a condition -> code of a problem. A duplicate has the key of its sentence as subject.
CODES = """(VALUES
    ('aws_gone', 'aws', 'aws_gone'), ('readers_gone', 'failing', 'readers_fail'), ('readers_gone', 'gone', 'readers_gone'),
    ('audit_unsealed', 'audit', 'audit_unsealed'), ('workers_gone', 'workers', 'no_worker'),
    ('settings_differ', 'settings', 'secrets_differ'), ('audit_broken', 'audit', 'audit_unsound'),
    ('duplicate', NULL, 'duplicate')
) AS codes (event, subject, code)"""
# One that was noted and never told has no facts.
TO_PROBLEMS = f"""
INSERT INTO nova_admin.migration_problemrecord (code, findings, began_at, failed_at, told, facts)
SELECT code, '[]', min(began_at), max(seen_at), bool_or(facts IS NOT NULL),
    (array_agg(facts ORDER BY began_at) FILTER (WHERE facts IS NOT NULL))[1]
FROM nova_admin.migration_condition AS condition JOIN {CODES}
    ON condition.event = codes.event AND condition.subject = coalesce(codes.subject, condition.subject)
GROUP BY code;
INSERT INTO nova_admin.migration_problemrecord AS record (code, findings, looked_at)
SELECT 'no_worker', '[]', max(seen_at) FROM nova_admin.migration_condition WHERE event = '{LAST_LOOK}' HAVING count(*) > 0
ON CONFLICT (code) DO UPDATE SET looked_at = excluded.looked_at;
DELETE FROM nova_admin.migration_condition
WHERE event = '{LAST_LOOK}' OR event IN (SELECT codes.event FROM {CODES});
"""  # noqa: S608  # constants
FROM_PROBLEMS = f"""
INSERT INTO nova_admin.migration_condition (event, subject, facts, began_at, seen_at)
SELECT codes.event, coalesce(codes.subject, facts ->> 'key', ''), facts, began_at, coalesce(failed_at, began_at)
FROM nova_admin.migration_problemrecord AS record JOIN {CODES} ON codes.code = record.code
WHERE told AND began_at IS NOT NULL
ON CONFLICT (event, subject) DO NOTHING;
INSERT INTO nova_admin.migration_condition (event, subject, began_at, seen_at)
SELECT '{LAST_LOOK}', '{LAST_LOOK}', looked_at, looked_at
FROM nova_admin.migration_problemrecord WHERE code = 'no_worker' AND looked_at IS NOT NULL
ON CONFLICT (event, subject) DO NOTHING;
"""  # noqa: S608  # constants


class Migration(migrations.Migration):
    replaces = [
        ("migration", "0054_notices_of_conditions"),
        ("migration", "0055_owners_of_mismatches"),
        ("migration", "0057_problems"),
    ]

    dependencies = [("migration", "0058_third_release_tables")]

    operations = [
        ChangeTogether(
            create_model(
                "ProblemRecord",
                code=models.CharField(max_length=50, primary_key=True, serialize=False),
                findings=OwnJSONField(default=list),
                looked_at=models.DateTimeField(null=True),
                claimed_until=models.DateTimeField(null=True),
                began_at=models.DateTimeField(null=True),
                failed_at=models.DateTimeField(null=True),
                told=models.BooleanField(default=False, db_default=False),
                facts=MessageField(null=True),
                options={"default_permissions": ()},
            ),
            migrations.RunSQL(
                [PUT_TOGETHER, DROP_OTHERS, STORE_SENTENCES, HELD, OWNERS, OTHERS],
                migrations.RunSQL.noop,
            ),
            migrations.RunSQL(TO_PROBLEMS, FROM_PROBLEMS),
            # PostgreSQL alters no table of which it still has rows to check: the deleted notices had deliveries.
            migrations.RunSQL("SET CONSTRAINTS ALL IMMEDIATE", migrations.RunSQL.noop),
            *(
                migrations.RemoveField("notice", name)
                for name in ("digest", "number", "names", "run")
            ),
            migrations.AddField(
                "notice", "is_over", models.BooleanField(default=False, db_default=False)
            ),
            migrations.RunSQL(MARK_OVER, migrations.RunSQL.noop),
            migrations.RemoveField("openmismatch", "assignee"),
        ),
        migrations.DeleteModel("SavedView"),
        migrations.RenameModel("NoticeRule", "NoticeSwitch"),
    ]
