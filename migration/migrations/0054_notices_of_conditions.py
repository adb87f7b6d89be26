"""Notices without digests: what waited to be told together is put together now, and its sentence stored.

What holds already for clients was told when it began: it is known as held, so that nobody is told of it again.
"""

from django.db import migrations, models

from migration.schema_operations import ChangeTogether

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


class Migration(migrations.Migration):
    dependencies = [("migration", "0053_read_outcomes")]

    operations = [
        ChangeTogether(
            *(
                migrations.RunSQL(statement, migrations.RunSQL.noop)
                for statement in (PUT_TOGETHER, DROP_OTHERS, STORE_SENTENCES, HELD)
            ),
            # PostgreSQL alters no table of which it still has rows to check: the deleted notices had deliveries.
            migrations.RunSQL("SET CONSTRAINTS ALL IMMEDIATE", migrations.RunSQL.noop),
            *(
                migrations.RemoveField("notice", name)
                for name in ("digest", "number", "names", "run")
            ),
            migrations.AddField(
                "notice", "is_over", models.BooleanField(db_default=False, default=False)
            ),
            migrations.RunSQL(MARK_OVER, migrations.RunSQL.noop),
        ),
        migrations.RenameModel("NoticeRule", "NoticeSwitch"),
    ]
