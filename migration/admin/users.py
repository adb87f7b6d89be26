"""Users and groups in the site's looks; the task queue's own pages are taken away."""

from __future__ import annotations

from typing import ClassVar

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin as BaseGroupAdmin
from django.contrib.auth.admin import UserAdmin as BaseUserAdmin
from django.contrib.auth.models import Group, User
from unfold.admin import ModelAdmin
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from migration.admin.base import OwnViews
from migration.admin.second_factors import ResetFactorView, remove_allauth_pages
from migration.task_queue import remove_queue_pages

admin.site.unregister([User, Group])
# A run has its own page.
remove_queue_pages()
remove_allauth_pages()


@admin.register(User)
class UserAdmin(BaseUserAdmin, OwnViews):  # type: ignore[type-arg]  # generic only in the stubs
    own_views: ClassVar = [("<int:user_id>/reset-factor/", "reset_factor", ResetFactorView)]
    change_form_after_template = "admin/migration/user_factor.html"
    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm


@admin.register(Group)
class GroupAdmin(BaseGroupAdmin, ModelAdmin):
    pass
