"""A mismatch has no assignee of its own: who looks after its client looks at it. Users keep no views of the list."""

from django.db import migrations

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


class Migration(migrations.Migration):
    dependencies = [("migration", "0054_notices_of_conditions")]

    operations = [
        migrations.RunSQL([OWNERS, OTHERS], migrations.RunSQL.noop),
        migrations.RemoveField(model_name="openmismatch", name="assignee"),
        migrations.DeleteModel(name="SavedView"),
    ]
