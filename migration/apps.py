"""Connects the app that moves clients from PostgreSQL to AWS."""

import pkgutil
from importlib import import_module

from django.apps import AppConfig
from django.contrib.auth.signals import user_login_failed
from django.core.signals import request_finished
from django.db.backends.signals import connection_created
from django.db.models.signals import post_migrate, post_save, pre_save
from django.utils.translation import gettext_lazy as _


class MigrationConfig(AppConfig):
    """The app `migration`: clients, comparisons, runs and the admin's pages."""

    name = "migration"
    verbose_name = _("Migration")

    def ready(self) -> None:
        import_all_modules()

        from axes.models import AccessAttempt
        from django_q import worker
        from django_q.models import Task
        from django_q.signals import (
            call_hook,
            post_execute_in_worker,
            post_spawn,
            pre_enqueue,
            pre_execute,
        )

        from migration.core.aws_store import store_calls
        from migration.core.database_identity import note_database, note_reached_database
        from migration.core.heartbeat import start_heartbeat
        from migration.core.keys import make_version_keys
        from migration.core.releases import known_migrations
        from migration.people.audit_signals import connect_signals
        from migration.people.lockouts import clear_form_data, record_failed_login
        from migration.people.roles import ensure_roles
        from migration.people.second_factors import tell_old_address
        from migration.task_queue import (
            attach_correlation,
            keep_rows_harmless,
            replace_foreign_task,
            task_context,
        )
        from migration.tasks import ensure_schedules

        known_migrations()  # as they are now: another release may be installed over the files
        keep_rows_harmless()
        connect_signals()
        pre_save.connect(
            tell_old_address, sender="auth.User", dispatch_uid="migration.tell_old_address"
        )
        post_migrate.connect(
            ensure_schedules, sender=self, dispatch_uid="migration.ensure_schedules"
        )
        post_spawn.connect(start_heartbeat, dispatch_uid="migration.start_heartbeat")
        pre_enqueue.connect(replace_foreign_task, dispatch_uid="migration.replace_foreign_task")
        # Behind it, which takes away what it doesn't know.
        pre_enqueue.connect(attach_correlation, dispatch_uid="migration.attach_correlation")
        pre_execute.connect(task_context.begin_task, dispatch_uid="migration.begin_task")
        # django-q's own place for what reports errors; it fills it from an installed package only.
        worker.error_reporter = task_context
        post_execute_in_worker.connect(store_calls, dispatch_uid="migration.store_task_calls")
        post_execute_in_worker.connect(
            task_context.replace_failed_result_and_end, dispatch_uid="migration.end_task"
        )
        request_finished.connect(store_calls, dispatch_uid="migration.store_request_calls")
        # The receiver calls any function that a finished task names as its hook; our tasks have no hooks.
        post_save.disconnect(call_hook, sender=Task)
        pre_save.connect(
            clear_form_data, sender=AccessAttempt, dispatch_uid="migration.clear_form_data"
        )
        # Connected after django-axes' own receiver, as its app stands before this one.
        user_login_failed.connect(record_failed_login, dispatch_uid="migration.record_failed_login")
        connection_created.connect(
            note_reached_database, dispatch_uid="migration.note_reached_database"
        )
        post_migrate.connect(note_database, sender=self, dispatch_uid="migration.note_database")
        post_migrate.connect(
            make_version_keys, sender=self, dispatch_uid="migration.make_version_keys"
        )
        # Connected after Django's own receiver, which makes the permissions.
        post_migrate.connect(ensure_roles, sender=self, dispatch_uid="migration.ensure_roles")


def import_all_modules() -> None:
    """Import each module of the app, so that what it declares is known: sentences of rows, work of runs, checks."""
    package = import_module("migration")
    for module in pkgutil.walk_packages(package.__path__, "migration."):
        if not module.name.startswith(("migration.management", "migration.migrations")):
            import_module(module.name)
