-- Gives a database back to the first release: its tables into `public`, without what it doesn't know.
--
-- First `manage.py migrate migration 0006_first_release` and `manage.py migrate credentials 0002_first_release`
-- by this release (docs/studies/first-release.md), then this, as the role that owns the schema nova_admin:
--
--     psql --single-transaction --set ON_ERROR_STOP=1 --file deploy/back_to_first_release.sql "$DATABASE_URL"
--
-- Where a table is in use it changes nothing; run it again. Then the first release's `migrate`. NOVA's own tables stay
-- as they are, and their writes are counted all the time.

SET search_path = pg_catalog, pg_temp;
-- While this waits, others queue behind it.
SET LOCAL lock_timeout = '50ms';

-- Runs of kinds that the first release doesn't have; what they did stays in the phases and the secrets.
UPDATE nova_admin.migration_phasechange SET run_id = NULL WHERE run_id IN
    (SELECT id FROM nova_admin.migration_run WHERE kind NOT IN ('migrate', 'push', 'compare'));
UPDATE nova_admin.migration_comparison SET run_id = NULL WHERE run_id IN
    (SELECT id FROM nova_admin.migration_run WHERE kind NOT IN ('migrate', 'push', 'compare'));
DELETE FROM nova_admin.migration_runitem WHERE run_id IN
    (SELECT id FROM nova_admin.migration_run WHERE kind NOT IN ('migrate', 'push', 'compare'));
DELETE FROM nova_admin.migration_run WHERE kind NOT IN ('migrate', 'push', 'compare');
-- Tasks and schedules call functions that it doesn't have. Its `migrate` makes its own schedules.
DELETE FROM nova_admin.django_q_ormq;
DELETE FROM nova_admin.django_q_schedule;
-- The checks of foreign keys that wait for the end: a table can't be altered before.
SET CONSTRAINTS ALL IMMEDIATE;

ALTER TABLE nova_admin.auth_group SET SCHEMA public;
ALTER TABLE nova_admin.auth_group_permissions SET SCHEMA public;
ALTER TABLE nova_admin.auth_permission SET SCHEMA public;
ALTER TABLE nova_admin.auth_user SET SCHEMA public;
ALTER TABLE nova_admin.auth_user_groups SET SCHEMA public;
ALTER TABLE nova_admin.auth_user_user_permissions SET SCHEMA public;
ALTER TABLE nova_admin.credentials_clientrevision SET SCHEMA public;
ALTER TABLE nova_admin.django_admin_log SET SCHEMA public;
ALTER TABLE nova_admin.django_content_type SET SCHEMA public;
ALTER TABLE nova_admin.django_migrations SET SCHEMA public;
ALTER TABLE nova_admin.django_q_ormq SET SCHEMA public;
ALTER TABLE nova_admin.django_q_schedule SET SCHEMA public;
ALTER TABLE nova_admin.django_q_task SET SCHEMA public;
ALTER TABLE nova_admin.django_session SET SCHEMA public;
ALTER TABLE nova_admin.migration_clientmigration SET SCHEMA public;
ALTER TABLE nova_admin.migration_comparison SET SCHEMA public;
ALTER TABLE nova_admin.migration_dailycomparisons SET SCHEMA public;
ALTER TABLE nova_admin.migration_moverequest SET SCHEMA public;
ALTER TABLE nova_admin.migration_openmismatch SET SCHEMA public;
ALTER TABLE nova_admin.migration_phasechange SET SCHEMA public;
ALTER TABLE nova_admin.migration_rate SET SCHEMA public;
ALTER TABLE nova_admin.migration_readcount SET SCHEMA public;
ALTER TABLE nova_admin.migration_resolution SET SCHEMA public;
ALTER TABLE nova_admin.migration_reveal SET SCHEMA public;
ALTER TABLE nova_admin.migration_rolegrant SET SCHEMA public;
ALTER TABLE nova_admin.migration_run SET SCHEMA public;
ALTER TABLE nova_admin.migration_runitem SET SCHEMA public;
ALTER TABLE nova_admin.migration_secret SET SCHEMA public;
ALTER TABLE nova_admin.migration_worker SET SCHEMA public;

-- From here to the end NOVA's writers wait: none may be between its row and its count.
SET LOCAL statement_timeout = '50ms';
LOCK TABLE public.clients, public.client_database_credentials, public.client_email_credentials
    IN SHARE ROW EXCLUSIVE MODE;
SET LOCAL statement_timeout TO DEFAULT;
-- The triggers follow the function, which counts in the old place. The first release's `migrate` makes it its own.
ALTER FUNCTION nova_admin.count_write() SET SCHEMA public;
ALTER FUNCTION public.count_write() RENAME TO nova_admin_count_write;
CREATE OR REPLACE FUNCTION public.nova_admin_count_write() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = off AS $$
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        RETURN NULL; -- which the first release doesn't count
    ELSIF TG_TABLE_NAME = 'clients' THEN
        INSERT INTO public.credentials_clientwrite (client_id)
        SELECT DISTINCT id FROM unnest(ARRAY[OLD.id, NEW.id]) AS id WHERE id IS NOT NULL;
    ELSE
        INSERT INTO public.credentials_clientwrite (client_id)
        SELECT DISTINCT id FROM unnest(ARRAY[OLD.client_id, NEW.client_id]) AS id WHERE id IS NOT NULL;
    END IF;
    RETURN NULL;
EXCEPTION WHEN OTHERS THEN
    RAISE WARNING 'NOVA Admin could not count this write (SQLSTATE %)', SQLSTATE;
    RETURN NULL;
END
$$;
DROP FUNCTION nova_admin.writes_are_counted();
ALTER TABLE nova_admin.client_aws_credentials SET SCHEMA public;
ALTER TABLE nova_admin.credentials_clientwrite SET SCHEMA public;
