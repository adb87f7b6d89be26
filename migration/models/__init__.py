"""Owns clients' phases, comparisons, mismatches, approvals and runs. Rules about these rows; no network.

No column here has a constraint on NOVA's tables: NOVA deletes clients, which our history must neither prevent nor lose.
"""

from migration.campaigns.members import (
    NewMemberVerdict,
    count_by_phase_before_goal,
    count_in_campaigns,
    list_clients_in_campaigns,
    list_newest_waves_of_groups,
)
from migration.campaigns.models import (
    GOALS,
    Campaign,
    CampaignNotChangedError,
    StaleCampaignError,
    Wave,
    WaveClient,
    WaveCounts,
    describe_minutes,
)
from migration.clients.models import (
    COMMENT_PERMISSION,
    CUTOVER_DAYS,
    ClientComment,
    CommentError,
    SiteCounts,
    Usage,
    check_comment,
    late_push_threshold,
)
from migration.models.approvals import MoveRequest
from migration.models.audit_actors import Actor, acting
from migration.models.audit_events import AuditCheckpoint, AuditCode, AuditEvent, AuditLink
from migration.models.client_groups import (
    ClientGroup,
    ClientGroupError,
    GroupMember,
    parse_group_name,
)
from migration.models.client_owners import OWN_PERMISSION, ClientOwner
from migration.models.clients import (
    ClientMigration,
    ClientMigrationQuerySet,
    ClientPhaseQuerySet,
    PlannedChange,
    all_clients,
    find_name_holder,
    store_lost_secret_slugs,
)
from migration.models.comparisons import Comparison, ComparisonQuerySet
from migration.models.conditions import (
    SCHEDULE_CHANGED,
    TASKS_DROPPED,
    ClientCondition,
    Condition,
    FoundCondition,
)
from migration.models.daily_comparisons import DailyComparisons
from migration.models.database_claims import DatabaseClaim, DatabaseIdentity
from migration.models.kept_counts import KeptCounts
from migration.models.layouts import (
    LayoutChoices,
    OtherSecretsState,
    find_layout,
    find_other_layout,
    find_other_secrets_layout,
    has_layout,
    name_secret_slug,
)
from migration.models.leases import Lease, LeaseKind
from migration.models.login_outcomes import PROVEN_WRONG, LoginOutcome
from migration.models.login_tests import LOGIN_PERMISSION, LoginStore, LoginStores, LoginTest
from migration.models.mismatches import OpenMismatch, OpenMismatchQuerySet, client_has_newest_status
from migration.models.moves import PhaseChange
from migration.models.notices import (
    CHOSEN_EVENTS,
    DeliveryAttempt,
    DeliveryOutcome,
    DeliveryState,
    Notice,
    NoticeDelivery,
    NoticeEvent,
    NoticeSwitch,
    NoticeWay,
)
from migration.models.offboardings import (
    RECOVERY_DAYS,
    Offboarding,
    OffboardingState,
    is_leaving_or_left,
)
from migration.models.phases import MOVE_PERMISSIONS, WRITES_BOTH, PhaseChoices
from migration.models.planned_clients import (
    PlanClass,
    PlanCounts,
    PlanDrift,
    PlannedClient,
    PlanRow,
    ReplacedSecret,
)
from migration.models.planned_moves import PlannedMoves
from migration.models.planned_versions import PlannedVersion
from migration.models.rates import Rate
from migration.models.reads import GOOD_READS, ReadCount, ReadsSince
from migration.models.reasons import (
    MOST_CHARACTERS,
    ReasonError,
    require_reason,
    require_storable_reason,
)
from migration.models.resolutions import Resolution
from migration.models.reveals import Reveal
from migration.models.rotation_schedules import MOST_DAYS, RotationSchedule
from migration.models.rotations import (
    ROTATE_PERMISSION,
    Rotation,
    RotationOpenError,
    RotationOutcome,
    RotationStep,
)
from migration.models.run_items import (
    CAN_BE_RETRIED,
    PUSHED,
    TRANSIENT,
    Act,
    Outcome,
    RunItem,
)
from migration.models.run_plans import PlanInOtherStateError, RunPlan
from migration.models.runs import MANY_TRIES, Run
from migration.models.secrets import KnownSecret, Secret, client_has_settings_drift
from migration.models.steered_runs import StaleRunError, WithdrawnRunError
from migration.models.version_keys import Fingerprint, VersionKey
from migration.models.work_facts import OF_AWS, BackgroundFacts, read_background_facts
from migration.models.workers import KNOWN_MIGRATIONS, Worker
from migration.models.write_state import AwsWriteState, read_aws_write_state
from migration.models.write_stops import WriteStop
from migration.moves.models import (
    ANSWERED_WITHIN,
    FRESH,
    Blocker,
    Standing,
    find_standing,
    get_wanted_time,
    select_open_items_of_write_runs,
    select_standing,
    select_with_blocker,
    with_blocker,
)
from migration.nova.models import (
    AwsFailure,
    OtherStatement,
    OtherStatementCount,
    ReaderProcess,
    ReaderProcessQuerySet,
    ReaderSummary,
)
from migration.people.models import (
    PasswordPlace,
    PasswordReset,
    RoleGrant,
    UserDeletionError,
    WrongPassword,
)
from migration.pushes.models import (
    TO_ROTATE,
    CredentialKey,
    FoundValue,
    KnownValue,
    NewValueOrigin,
    NotedClient,
    PresentValue,
    SeenClient,
)
from migration.secrets.models import (
    MOST_SEARCH_TRIES,
    CopySearch,
    FoundCopy,
    Redaction,
    SearchedClient,
    SearchState,
    UnsearchedPlace,
    UnsearchedReason,
)

__all__ = [
    "ANSWERED_WITHIN",
    "CAN_BE_RETRIED",
    "CHOSEN_EVENTS",
    "COMMENT_PERMISSION",
    "CUTOVER_DAYS",
    "FRESH",
    "GOALS",
    "GOOD_READS",
    "KNOWN_MIGRATIONS",
    "LOGIN_PERMISSION",
    "MANY_TRIES",
    "MOST_CHARACTERS",
    "MOST_DAYS",
    "MOST_SEARCH_TRIES",
    "MOVE_PERMISSIONS",
    "OF_AWS",
    "OWN_PERMISSION",
    "PROVEN_WRONG",
    "PUSHED",
    "RECOVERY_DAYS",
    "ROTATE_PERMISSION",
    "SCHEDULE_CHANGED",
    "TASKS_DROPPED",
    "TO_ROTATE",
    "TRANSIENT",
    "WRITES_BOTH",
    "Act",
    "Actor",
    "AuditCheckpoint",
    "AuditCode",
    "AuditEvent",
    "AuditLink",
    "AwsFailure",
    "AwsWriteState",
    "BackgroundFacts",
    "Blocker",
    "Campaign",
    "CampaignNotChangedError",
    "ClientComment",
    "ClientCondition",
    "ClientGroup",
    "ClientGroupError",
    "ClientMigration",
    "ClientMigrationQuerySet",
    "ClientOwner",
    "ClientPhaseQuerySet",
    "CommentError",
    "Comparison",
    "ComparisonQuerySet",
    "Condition",
    "CopySearch",
    "CredentialKey",
    "DailyComparisons",
    "DatabaseClaim",
    "DatabaseIdentity",
    "DeliveryAttempt",
    "DeliveryOutcome",
    "DeliveryState",
    "Fingerprint",
    "FoundCondition",
    "FoundCopy",
    "FoundValue",
    "GroupMember",
    "KeptCounts",
    "KnownSecret",
    "KnownValue",
    "LayoutChoices",
    "Lease",
    "LeaseKind",
    "LoginOutcome",
    "LoginStore",
    "LoginStores",
    "LoginTest",
    "MoveRequest",
    "NewMemberVerdict",
    "NewValueOrigin",
    "NotedClient",
    "Notice",
    "NoticeDelivery",
    "NoticeEvent",
    "NoticeSwitch",
    "NoticeWay",
    "Offboarding",
    "OffboardingState",
    "OpenMismatch",
    "OpenMismatchQuerySet",
    "OtherSecretsState",
    "OtherStatement",
    "OtherStatementCount",
    "Outcome",
    "PasswordPlace",
    "PasswordReset",
    "PhaseChange",
    "PhaseChoices",
    "PlanClass",
    "PlanCounts",
    "PlanDrift",
    "PlanInOtherStateError",
    "PlanRow",
    "PlannedChange",
    "PlannedClient",
    "PlannedMoves",
    "PlannedVersion",
    "PresentValue",
    "Rate",
    "ReadCount",
    "ReaderProcess",
    "ReaderProcessQuerySet",
    "ReaderSummary",
    "ReadsSince",
    "ReasonError",
    "Redaction",
    "ReplacedSecret",
    "Resolution",
    "Reveal",
    "RoleGrant",
    "Rotation",
    "RotationOpenError",
    "RotationOutcome",
    "RotationSchedule",
    "RotationStep",
    "Run",
    "RunItem",
    "RunPlan",
    "SearchState",
    "SearchedClient",
    "Secret",
    "SeenClient",
    "SiteCounts",
    "StaleCampaignError",
    "StaleRunError",
    "Standing",
    "UnsearchedPlace",
    "UnsearchedReason",
    "Usage",
    "UserDeletionError",
    "VersionKey",
    "Wave",
    "WaveClient",
    "WaveCounts",
    "WithdrawnRunError",
    "Worker",
    "WriteStop",
    "WrongPassword",
    "acting",
    "all_clients",
    "check_comment",
    "client_has_newest_status",
    "client_has_settings_drift",
    "count_by_phase_before_goal",
    "count_in_campaigns",
    "describe_minutes",
    "find_layout",
    "find_name_holder",
    "find_other_layout",
    "find_other_secrets_layout",
    "find_standing",
    "get_wanted_time",
    "has_layout",
    "is_leaving_or_left",
    "late_push_threshold",
    "list_clients_in_campaigns",
    "list_newest_waves_of_groups",
    "name_secret_slug",
    "parse_group_name",
    "read_aws_write_state",
    "read_background_facts",
    "require_reason",
    "require_storable_reason",
    "select_open_items_of_write_runs",
    "select_standing",
    "select_with_blocker",
    "store_lost_secret_slugs",
    "with_blocker",
]
