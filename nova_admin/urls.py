"""The site's addresses: the admin, and the choice of its language; and the pages where there is none."""

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

urlpatterns = [
    path("i18n/", include("django.conf.urls.i18n")),
    path("admin/", admin.site.urls),
    path("", RedirectView.as_view(pattern_name="admin:index")),
]

handler400 = "nova_admin.error_pages.show_bad_request"
handler403 = "nova_admin.error_pages.show_refusal"
handler404 = "nova_admin.error_pages.show_not_found"
handler500 = "nova_admin.error_pages.show_server_error"
