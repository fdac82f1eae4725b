"""All settings, read from the environment once. `docs/settings.md` is the same list for people.

What production must not be is said by `dashboard.checks`, which runs at every start.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

from dashboard import env
from dashboard.database import parse_database_url

BASE_DIR = Path(__file__).resolve().parent.parent
DATA = Path(env.text("FAILOVER_DESK_DATA", str(BASE_DIR / "var"))).resolve()

TESTING = env.flag("TESTING") or "pytest" in sys.modules
DEBUG = False
DEMO = env.flag("DEMO")

# Keys. Three, so that a taken poller cannot fail anything over: only the sweep and the sending worker
# are given EXECUTOR_KEY.
SECRET_KEY = env.secret("SECRET_KEY") or ("testing-" + "x" * 50 if TESTING else "")
READER_KEY = env.secret("READER_KEY")
EXECUTOR_KEY = env.secret("EXECUTOR_KEY")
CHECKPOINT_KEY = env.secret("CHECKPOINT_KEY")  # the relay's alone: it signs what the ledger was

# Who may reach the web server, and how.
HOST = env.text("HOST", "127.0.0.1")
PORT = int(env.number("PORT", 8000, least=1))
TLS_CERT, TLS_KEY = env.text("TLS_CERT"), env.text("TLS_KEY")
BEHIND_PROXY = env.flag("BEHIND_PROXY")
ALLOWED_HOSTS = env.listing("ALLOWED_HOSTS", "127.0.0.1,localhost,[::1]") + (["testserver"] if TESTING else [])
CSRF_TRUSTED_ORIGINS = env.listing("CSRF_TRUSTED_ORIGINS")
LOCAL_ONLY = HOST in ("127.0.0.1", "localhost", "::1") and not BEHIND_PROXY and not TLS_CERT
if BEHIND_PROXY:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")

# Clusters: which addresses they may have (loopback only when it is listed), how often they are read.
CLUSTER_ALLOWED_CIDRS = env.listing("CLUSTER_ALLOWED_CIDRS")
POLL_EVERY = env.duration("POLL_EVERY", "10s")

# When a relationship is late, stalled, failing or unknown (house words: dashboard/fleet/health.py).
OBJECTIVE_DEFAULT = env.duration("OBJECTIVE_DEFAULT", "1h")
CRITICAL_AT = env.number("CRITICAL_AT", 2.0, least=1)
STALLED_AFTER = env.duration("STALLED_AFTER", "5m")
FAILED_JOBS_CRITICAL = int(env.number("FAILED_JOBS_CRITICAL", 3, least=1))
UNKNOWN_AFTER = env.duration("UNKNOWN_AFTER", "45s")
AT_ONCE = int(env.number("AT_ONCE", 10, least=1))  # failovers under way on one cluster
HISTORY_DAYS = int(env.number("HISTORY_DAYS", 30, least=1))

# The protocol's times are in dashboard/failovers/timing.py; tests alone may shrink them.
TIME_SCALE = env.number("TIME_SCALE", 1.0)
if TIME_SCALE != 1.0 and not TESTING:
    raise ImproperlyConfigured("TIME_SCALE is for tests; it is accepted only together with TESTING=1.")

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.socialaccount",
    "allauth.socialaccount.providers.openid_connect",
    "csp",
    "django_htmx",
    "dashboard",
    "dashboard.audit",
    "dashboard.accounts",
    "dashboard.fleet",
    "dashboard.failovers",
    "dashboard.notifications",
    "dashboard.web",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "dashboard.web.middleware.BuildMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "dashboard.web.guards.RefusalMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "dashboard.web.middleware.SignInMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "dashboard.urls"
WSGI_APPLICATION = "dashboard.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": False,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "dashboard.web.context.desk",
            ],
            "builtins": ["dashboard.web.templatetags.desk", "django.templatetags.i18n", "django.templatetags.static"],
            "loaders": [
                (
                    "django.template.loaders.cached.Loader",
                    ["django.template.loaders.filesystem.Loader"],
                )
            ],
        },
    }
]

# Storage. PostgreSQL in production; SQLite on one machine, durable (FULL) because a committed
# intent that a power cut takes back would be a second make-writable.
DATABASE_URL = env.secret("DATABASE_URL") or f"sqlite:///{DATA / 'desk.sqlite3'}"
DATABASES = {"default": parse_database_url(DATABASE_URL)}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
AUTH_USER_MODEL = "accounts.User"
AUTH_PASSWORD_VALIDATORS: list[dict[str, str]] = []
if not DEMO and not TESTING:
    AUTH_PASSWORD_VALIDATORS = [
        {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
        {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    ]
if DEMO or TESTING:  # their passwords are printed: a slow hash would guard nothing and cost seconds
    PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

# Sessions live in the database: Redis down or frozen must not sign the approvers out.
SESSION_ENGINE = "dashboard.accounts.sessions"
SESSION_IDLE = env.duration("SESSION_IDLE", "30m")
SESSION_ABSOLUTE = env.duration("SESSION_ABSOLUTE", "12h")
SESSION_COOKIE_AGE = int(SESSION_ABSOLUTE.total_seconds())
SESSION_COOKIE_SAMESITE = "Lax"  # a link in a chat must arrive signed in; GET never decides
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = not LOCAL_ONLY
SESSION_COOKIE_NAME = "__Host-session" if SESSION_COOKIE_SECURE else "session"
CSRF_COOKIE_NAME = "__Host-csrf" if CSRF_COOKIE_SECURE else "csrf"
CSRF_COOKIE_HTTPONLY = True
CSRF_FAILURE_VIEW = "dashboard.web.views.errors.csrf_failed"
LOGIN_URL = "/sign-in/"
LOGIN_REDIRECT_URL = "/"

# Signing in. django-allauth keeps the second factors and talks to the identity provider; its pages, its sign-up and its
# limits, which would need a cache, are not used: the addresses in dashboard/web/urls.py are all there are.
_USUAL = "off" if DEMO else "optional" if TESTING else "required"
SECOND_FACTOR = env.choice("SECOND_FACTOR", _USUAL, ("required", "optional", "off"))
EMERGENCY_SIGN_IN = env.flag("EMERGENCY_SIGN_IN")
OIDC_ISSUER = env.text("OIDC_ISSUER").rstrip("/")
OIDC_CLIENT_ID = env.text("OIDC_CLIENT_ID")
OIDC_CLIENT_SECRET = env.secret("OIDC_CLIENT_SECRET")
OIDC_NAME = env.text("OIDC_NAME", "Single sign-on")
OIDC_CA_FILE = env.text("OIDC_CA_FILE")
ACCOUNT_LOGIN_METHODS = {"username"}
ACCOUNT_SIGNUP_FIELDS = ["username*", "password1*"]
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_RATE_LIMITS = MFA_RATE_LIMITS = False
MFA_ADAPTER = "dashboard.accounts.factors.Adapter"
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
SOCIALACCOUNT_ADAPTER = "dashboard.accounts.oidc.Adapter"
SOCIALACCOUNT_STORE_TOKENS = False

SECURE_HSTS_SECONDS = 0 if LOCAL_ONLY else 31_536_000
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'none'"],
        "script-src": ["'self'"],
        "style-src": ["'self'"],
        "img-src": ["'self'", "data:"],
        "font-src": ["'self'"],
        "connect-src": ["'self'"],
        "form-action": ["'self'"],
        "base-uri": ["'none'"],
        "object-src": ["'none'"],
        "frame-ancestors": ["'none'"],
        "report-uri": ["/csp-report/"],
    }
}

# Notices: where people are told of failovers, and the address that their links lead to.
DESK_URL = env.address("DESK_URL", "https", "http")
NOTIFY_URLS = env.named_urls("NOTIFY_URLS")
NOTIFY_MAIL = env.address("NOTIFY_MAIL", "smtps", "smtp", "smtp+plain")
NOTIFY_FROM = env.text("NOTIFY_FROM")
if NOTIFY_MAIL and not NOTIFY_FROM:
    raise ImproperlyConfigured("NOTIFY_FROM is missing: the address that mails of NOTIFY_MAIL come from.")

# The record: where signed checkpoints of it go, and the file outside of the database that knows how far it had come.
CHECKPOINT_FILE = env.text("CHECKPOINT_FILE", str(DATA / "checkpoints"))
CHECKPOINT_SYSLOG = env.text("CHECKPOINT_SYSLOG")
CHECKPOINT_SYSLOG_CA = env.text("CHECKPOINT_SYSLOG_CA")
CHECKPOINT_WEBHOOK = env.address("CHECKPOINT_WEBHOOK", "https")
CHECKPOINT_WEBHOOK_CA = env.text("CHECKPOINT_WEBHOOK_CA")
FENCE_FILE = env.text("FENCE_FILE", str(DATA / "fence") if DEMO or TESTING else "")

LANGUAGE_CODE = "en"
USE_I18N = True
USE_TZ = True
TIME_ZONE = "UTC"

STATIC_URL = "/static/"
STATIC_ROOT = Path(env.text("STATIC_ROOT", str(BASE_DIR / "staticfiles")))
STATICFILES_DIRS = [BASE_DIR / "static"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
        if TESTING
        else "whitenoise.storage.CompressedManifestStaticFilesStorage"
    },
}
WHITENOISE_USE_FINDERS = WHITENOISE_AUTOREFRESH = TESTING  # tests collect nothing

# Redis: the broker of the doorbell, and a cache of rendered fragments that may always miss.
REDIS_URL = env.text("REDIS_URL")
CELERY_BROKER_URL = env.text("CELERY_BROKER_URL") or REDIS_URL or "memory://"
if CELERY_BROKER_URL.startswith("unix://"):
    CELERY_BROKER_URL = "redis+socket://" + CELERY_BROKER_URL.removeprefix("unix://")
# What Celery does when left alone, and must not do here, is the reason for each of these lines.
CELERY_TASK_ACKS_LATE = False  # else a call longer than the visibility timeout is started again while it still runs
CELERY_TASK_REJECT_ON_WORKER_LOST = False  # a killed worker's task comes back from the database, not from the broker
CELERY_RESULT_BACKEND = None  # what came of it is in the database, and nowhere else
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_TIME_LIMIT = CELERY_TASK_SOFT_TIME_LIMIT = None  # threads obey none; the deadline of the call is the limit
CELERY_WORKER_POOL = "threads"  # a child that is lost takes a task along, and its parent waits for it without end
CELERY_WORKER_PREFETCH_MULTIPLIER = 1  # a busy worker must not hold bells that an idle one could hear
CELERY_WORKER_DISABLE_PREFETCH = True  # not even one, which only Redis can do
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = False  # a broker that blinks must not stop a POST
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True  # workers may start before the broker does
CELERY_BROKER_CONNECTION_MAX_RETRIES = None  # and outlive it, however long it is away
CELERY_TASK_PUBLISH_RETRY = False  # one try for each bell: whoever rings goes on
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]  # never pickle: a message must not be able to run code
CELERY_TASK_DEFAULT_QUEUE = "observe"
CELERY_TASK_ROUTES = {"dashboard.failovers.tasks.*": {"queue": "send"}}  # slow clusters must not delay a failover
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
IS_WORKER = "celery" in Path(sys.argv[0]).name or "worker" in sys.argv
CELERY_BROKER_TRANSPORT_OPTIONS = (
    {}
    if CELERY_BROKER_URL == "memory://"
    else {
        "visibility_timeout": 3600,  # far above the longest call; nothing here has an ETA, which would be run twice
        "socket_connect_timeout": 2 if IS_WORKER else 1,
        "socket_timeout": 15 if IS_WORKER else 1,  # above the second for which a worker asks for messages
        "socket_keepalive": True,
        "health_check_interval": 10,  # a connection that died without a word is found
        "max_retries": 1,
        "global_keyprefix": "failover-desk:",  # of two programs on one Redis the shorter visibility timeout rules
    }
)

LOG_LEVEL = env.text("LOG_LEVEL", "INFO").upper()
if LOG_LEVEL not in logging.getLevelNamesMapping():
    raise ImproperlyConfigured(f"LOG_LEVEL is {LOG_LEVEL!r}; write DEBUG, INFO, WARNING or ERROR.")
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {"clean": {"()": "dashboard.logs.Clean"}},
    "formatters": {"json": {"()": "dashboard.logs.JsonLines"}},
    "handlers": {
        "stderr": {"class": "logging.StreamHandler", "formatter": "json", "filters": ["clean"]},
        "nowhere": {"class": "logging.NullHandler"},
    },
    "root": {"handlers": ["stderr"], "level": LOG_LEVEL},
    "loggers": {
        "httpx": {"level": "WARNING"},
        "httpcore": {"level": "WARNING"},
        # Both write addresses of chats, which hold tokens. What came of a notice is told by its channel.
        "apprise": {"level": "WARNING", "handlers": ["nowhere"], "propagate": False},
        "urllib3": {"level": "WARNING", "handlers": ["nowhere"], "propagate": False},
        "django.server": {"level": "WARNING"},
    },
}
TEST_RUNNER = "django.test.runner.DiscoverRunner"
