"""Shows and watches the site as a whole: dashboard, health, notices, metrics, the audit, AWS writes, cost."""
