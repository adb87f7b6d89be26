"""Each alert as Prometheus evaluates it: when it fires, what it says, that it ends. A site in order has none."""

import re
import subprocess
from dataclasses import dataclass

import yaml

from migration.core.problems import PROBLEMS
from tests.deploy.test_alerts import ALERTS, RULES

HOSTS = ("one:8000", "two:8000")
BEGINS = 10  # the minute in which something goes wrong
# A site in order, by minutes. It has been running for a while: counters don't begin at zero.
IN_ORDER = {
    'up{job="nova-admin"}': "1x120",
    **{f'nova_problems{{code="{code}"}}': "0x120" for code in PROBLEMS},
    'nova_reads_total{result="match"}': "1000+20x120",
    'nova_reads_total{result="mismatch"}': "3x120",
    "nova_workers": "2x120",
    "nova_pushes_oldest_seconds": "40x120",
    "nova_runs_idle_seconds": "30x120",
    "nova_queue_tasks": "4x120",
    'nova_aws_calls_total{operation="GetSecretValue",outcome="ok"}': "500+9x120",
    'nova_aws_calls_total{operation="PutSecretValue",outcome="permission"}': "5x120",
    'nova_aws_calls_total{operation="GetSecretValue",outcome="unavailable"}': "5x120",
    'nova_aws_calls_total{operation="GetSecretValue",outcome="throttled"}': "5x120",
    'nova_http_requests_total{method="GET",status="2xx"}': "700+18x120",
    'nova_http_requests_total{method="GET",status="5xx"}': "5x120",
    'nova_http_request_seconds_bucket{le="0.5"}': "600+18x120",
    'nova_http_request_seconds_bucket{le="5.0"}': "700+18x120",
    'nova_http_request_seconds_bucket{le="+Inf"}': "700+18x120",
}
SITE = "https://nova-admin.example.com"


@dataclass(frozen=True)
class Trouble:
    """One number of the site goes wrong in the tenth minute, and is right again once its alert has fired."""

    series: str
    values: str  # in order, in trouble, in order, as promtool reads them
    silent_until: int  # minutes after it began
    fires_after: int
    summary: str
    over_after: int = 2  # minutes after it fired


def level(good: int, bad: int, minutes: int) -> str:
    return f"{good}x9 {bad}x{minutes} {good}x60"


def count(start: int, a_minute: int, minutes: int) -> str:
    return f"{start}x9 {start}+{a_minute}x{minutes} {start + minutes * a_minute}x60"


def problem(code: str, number: int, minutes: int, summary: str) -> Trouble:
    """A problem that the site tells; its alert fires once it has lasted so many minutes."""
    series = f'nova_problems{{code="{code}"}}'
    return Trouble(series, level(0, number, minutes), minutes - 1, minutes, summary)


TROUBLES = {
    "NovaAdminIsDown": Trouble(
        'up{job="nova-admin"}', level(1, 0, 5), 4, 5,
        "NOVA Admin does not answer, or its database doesn't.",
    ),
    "NovaAdminHasNoWorkers": problem("no_worker", 1, 2, "No worker is alive, so nothing is pushed or compared."),
    "NovaDatabaseIsDuplicate": problem("duplicate", 1, 5, "The database is not the one that may write to AWS."),
    "NovaHostDiffers": problem(
        "host_differs", 1, 5, "A host differs from what all hosts share, and writes nothing to AWS.",
    ),
    "NovaAwsIsGone": problem("aws_gone", 1, 5, "AWS answered none of the newest comparisons."),
    "NovaReadersFail": problem("readers_fail", 2, 5, "2 processes of NOVA get no usable answer from AWS."),
    "NovaWritesAreNotCounted": problem(
        "writes_uncounted", 1, 10,
        "Writes to NOVA's tables may not be counted, and then none of them is pushed.",
    ),
    "NovaCountingIsUnproved": problem(
        "counting_unproved", 1, 10, "A write to NOVA's tables was tried, and was not counted.",
    ),
    "NovaAuditIsUnsound": problem("audit_unsound", 1, 0, "The audit is not as this site wrote it."),
    "NovaRotationStopped": problem(
        "rotations_stopped", 2, 0, "2 clients' rotations stopped: nobody knows which password is valid.",
    ),
    "NovaReadersAreGone": problem("readers_gone", 1, 15, "No process of NOVA reads through the package."),
    "NovaSweepIsOverdue": problem("sweep_overdue", 1, 15, "The schedule has compared nothing for two intervals."),
    "NovaAwsWritesAreStopped": problem("writes_stopped", 1, 60, "Every write to AWS has been stopped for an hour."),
    "NovaPushesAreRefused": problem(
        "push_refused", 3, 15,
        "3 clients can't be pushed before somebody corrects their data or secrets.",
    ),
    "NovaClientsDiffer": problem("mismatches", 7, 30, "7 clients differ between PostgreSQL and AWS."),
    "NovaClientsAreUnchecked": problem("unchecked", 6, 60, "6 clients could not be compared."),
    "NovaClientsFailed": problem(
        "failures", 5, 30, "5 clients failed when something was last done with them.",
    ),
    "NovaCampaignStopped": problem("campaign_stopped", 1, 15, "A campaign has stopped and waits for somebody."),
    "NovaReadsDiffer": Trouble(
        'nova_reads_total{result="mismatch"}', count(3, 1, 1), 0, 1,
        "NOVA read clients whose stores differ.", over_after=32,
    ),
    "NovaPushesWait": Trouble(
        "nova_pushes_oldest_seconds", level(40, 900, 5), 4, 5,
        "A write has been waiting for its push for 15m 0s.",
    ),
    "NovaRunStandsStill": Trouble(
        "nova_runs_idle_seconds", level(30, 1200, 5), 4, 5,
        "No worker has worked on a running run for 20m 0s.",
    ),
    "NovaQueueIsLong": Trouble(
        "nova_queue_tasks", level(4, 250, 10), 9, 10,
        "250 tasks wait for a worker.",
    ),
    "NovaQueueIsGone": Trouble(
        "nova_queue_tasks", "4x9 stale _x2 4x60", 1, 2,
        "The task queue can't be reached, so nothing is pushed or compared.",
    ),
    "NovaAwsRefuses": Trouble(
        'nova_aws_calls_total{operation="PutSecretValue",outcome="permission"}', count(5, 2, 16), 15, 16,
        "AWS refuses calls of the site.", over_after=17,
    ),
    "NovaAwsFails": Trouble(
        'nova_aws_calls_total{operation="GetSecretValue",outcome="unavailable"}', count(5, 6, 25), 10, 25,
        "40% of the calls to AWS get no answer.", over_after=12,
    ),
    "NovaAwsThrottles": Trouble(
        'nova_aws_calls_total{operation="GetSecretValue",outcome="throttled"}', count(5, 1, 25), 15, 25,
        "10% of the calls to AWS are throttled.", over_after=12,
    ),
    "NovaPagesFail": Trouble(
        'nova_http_requests_total{method="GET",status="5xx"}', count(5, 2, 25), 10, 25,
        "10% of the pages end with an error of the site.", over_after=12,
    ),
    "NovaPagesAreSlow": Trouble(
        'nova_http_request_seconds_bucket{le="0.5"}', "600+18x9 762x30 762+18x60", 14, 30,
        "One page in twenty takes 4.775s or more.", over_after=12,
    ),
}  # fmt: skip


def label(series: str, **more: str) -> tuple[str, dict[str, str]]:
    """The series with further labels, as Prometheus writes it, and all of its labels."""
    name, _brace, labels = series.rstrip("}").partition("{")
    found = dict(re.findall(r'(\w+)="([^"]*)"', labels)) | more
    written = ",".join(f'{key}="{value}"' for key, value in found.items())
    return f"{name}{{{written}}}", found


def scrape_hosts(numbers: dict[str, str]) -> list[dict[str, str]]:
    """Prometheus asks two hosts, which say the same: the numbers are those of their database."""
    return [
        {"series": label(series, instance=host)[0], "values": values}
        for host in HOSTS
        for series, values in numbers.items()
    ]


def expect(alert: str, minute: int, alerts: list[dict[str, object]]) -> dict[str, object]:
    return {"eval_time": f"{minute}m", "alertname": alert, "exp_alerts": alerts}


def describe_alerts(rule: dict[str, dict[str, str]], trouble: Trouble) -> list[dict[str, object]]:
    """The alerts that the rule has to give: one a host, or one where it adds up all of them."""
    address = rule["annotations"]["runbook_url"].replace("{{ $externalLabels.nova_admin }}", SITE)
    annotations = {"summary": trouble.summary, "runbook_url": address}
    if re.search(r"\bsum( by \(le\))? ?\(", rule["expr"]):
        found: list[dict[str, str]] = [{}]
    elif "unless" in rule["expr"]:
        found = [{"instance": host} for host in HOSTS]
    else:
        found = [label(trouble.series, instance=host)[1] for host in HOSTS]
    return [{"exp_labels": rule["labels"] | each, "exp_annotations": annotations} for each in found]


def make_test(rule: dict[str, dict[str, str]]) -> dict[str, object]:
    """It is silent at first, fires then alone, and is silent again."""
    name = rule["alert"]
    trouble = TROUBLES[name]
    fires = BEGINS + trouble.fires_after
    others = [expect(other["alert"], fires, []) for other in RULES if other["alert"] != name]
    return {
        "name": name,
        "interval": "1m",
        "external_labels": {"nova_admin": SITE},
        "input_series": scrape_hosts(IN_ORDER | {trouble.series: trouble.values}),
        "alert_rule_test": [
            expect(name, BEGINS + trouble.silent_until, []),
            expect(name, fires, describe_alerts(rule, trouble)),
            expect(name, fires + trouble.over_after, []),
            *others,
        ],
    }


def test_each_alert_fires_in_time_says_how_much_and_ends(promtool, tmp_path):
    in_order = {
        "name": "in order",
        "interval": "1m",
        "external_labels": {"nova_admin": SITE},
        "input_series": scrape_hosts(IN_ORDER),
        "alert_rule_test": [
            expect(rule["alert"], minute, []) for rule in RULES for minute in (0, 90)
        ],
    }
    tests = [in_order, *(make_test(rule) for rule in RULES)]
    told = {"rule_files": [str(ALERTS)], "evaluation_interval": "1m", "tests": tests}
    file = tmp_path / "tests.yaml"
    file.write_text(yaml.safe_dump(told))

    done = subprocess.run(
        [promtool, "test", "rules", file], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr
