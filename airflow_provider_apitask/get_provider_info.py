"""What Airflow reads through the entry point ``apache_airflow_provider``.

Every Airflow process calls this while it looks for providers, so nothing is imported or read here.
``provider.yaml`` says the same for tools; a test compares the two.
"""

from __future__ import annotations

from typing import Any

__all__ = ["get_provider_info"]


def get_provider_info() -> dict[str, Any]:
    """Return the provider's metadata, in the shape of Airflow's ``provider_info.schema.json``."""
    return {
        "package-name": "airflow-provider-apitask",
        "name": "API Task",
        "description": (
            "Calls HTTP APIs: submits a job, awaits it on the triggerer, hands its result to the next task.\n"
        ),
        "versions": ["0.1.0"],
        "integrations": [
            {
                "integration-name": "API Task",
                "external-doc-url": "https://www.rfc-editor.org/rfc/rfc9110",
                "tags": ["protocol"],
            }
        ],
        "operators": [
            {
                "integration-name": "API Task",
                "python-modules": ["airflow_provider_apitask.operators.api_call"],
            }
        ],
        "sensors": [
            {
                "integration-name": "API Task",
                "python-modules": ["airflow_provider_apitask.sensors.api_status"],
            }
        ],
        "triggers": [
            {
                "integration-name": "API Task",
                "python-modules": [
                    "airflow_provider_apitask.triggers.api_event",
                    "airflow_provider_apitask.triggers.api_status",
                ],
            }
        ],
        "hooks": [
            {
                "integration-name": "API Task",
                "python-modules": ["airflow_provider_apitask.hooks.api"],
            }
        ],
        "connection-types": [
            {
                "connection-type": "apitask",
                "hook-class-name": "airflow_provider_apitask.hooks.api.ApiHook",
                "hook-name": "API Task",
                "ui-field-behaviour": {
                    "hidden-fields": ["schema"],
                    "relabeling": {"host": "Base URL", "login": "Login", "password": "Password"},
                    "placeholders": {"host": "https://api.example.com/v1", "port": "443"},
                },
                "conn-fields": {
                    "auth_type": {
                        "label": "Authentication",
                        "description": "Basic and digest use login and password; bearer "
                        "token, API key and secret headers the fields here; "
                        "the others have a section of their own below.",
                        "schema": {
                            "type": ["string", "null"],
                            "enum": [
                                "none",
                                "basic",
                                "bearer",
                                "api_key",
                                "headers",
                                "digest",
                                "oauth1",
                                "oauth2",
                                "session",
                                "requests",
                            ],
                            "values_display": {
                                "none": "None",
                                "basic": "Basic",
                                "bearer": "Bearer token",
                                "api_key": "API key",
                                "headers": "Secret headers",
                                "digest": "Digest",
                                "oauth1": "OAuth 1.0",
                                "oauth2": "OAuth 2.0",
                                "session": "Session login",
                                "requests": "Class of the requests library",
                            },
                            "default": "none",
                            "section": "Authentication",
                        },
                    },
                    "bearer_token": {
                        "label": "Bearer token",
                        "description": "Empty: the password.",
                        "schema": {
                            "type": ["string", "null"],
                            "format": "password",
                            "section": "Authentication",
                        },
                    },
                    "key_secret": {
                        "label": "API key",
                        "description": "Empty: the password.",
                        "schema": {
                            "type": ["string", "null"],
                            "format": "password",
                            "section": "Authentication",
                        },
                    },
                    "key_name": {
                        "label": "API key name",
                        "description": "Of the header, query parameter or cookie that "
                        "carries it; empty: X-API-Key, in a query or cookie "
                        "api_key.",
                        "schema": {"type": ["string", "null"], "section": "Authentication"},
                    },
                    "key_in": {
                        "label": "API key sent in",
                        "description": "Where the key is sent.",
                        "schema": {
                            "type": ["string", "null"],
                            "enum": ["header", "query", "cookie"],
                            "values_display": {"header": "Header", "query": "Query", "cookie": "Cookie"},
                            "default": "header",
                            "section": "Authentication",
                        },
                    },
                    "headers_secret": {
                        "label": "Secret headers",
                        "description": "A JSON object of header names and values.",
                        "schema": {
                            "type": ["string", "null"],
                            "format": "password",
                            "section": "Authentication",
                        },
                    },
                    "oauth2_endpoint": {
                        "label": "Token endpoint",
                        "description": "URL, or an endpoint below the base URL.",
                        "schema": {"type": ["string", "null"], "section": "OAuth 2.0"},
                    },
                    "oauth2_grant": {
                        "label": "Grant",
                        "description": "Password sends login and password.",
                        "schema": {
                            "type": ["string", "null"],
                            "enum": ["client_credentials", "password", "refresh_token"],
                            "values_display": {
                                "client_credentials": "Client credentials",
                                "password": "Password",
                                "refresh_token": "Refresh token",
                            },
                            "default": "client_credentials",
                            "section": "OAuth 2.0",
                        },
                    },
                    "oauth2_client_id": {
                        "label": "Client ID",
                        "description": "Needed for client_credentials.",
                        "schema": {"type": ["string", "null"], "section": "OAuth 2.0"},
                    },
                    "oauth2_client_secret": {
                        "label": "Client secret",
                        "description": "Needed for client_credentials.",
                        "schema": {"type": ["string", "null"], "format": "password", "section": "OAuth 2.0"},
                    },
                    "oauth2_client_auth": {
                        "label": "Client authentication",
                        "description": "How client ID and secret are sent.",
                        "schema": {
                            "type": ["string", "null"],
                            "enum": ["basic", "body"],
                            "values_display": {"basic": "Authorization header", "body": "Body"},
                            "default": "basic",
                            "section": "OAuth 2.0",
                        },
                    },
                    "oauth2_scope": {
                        "label": "Scope",
                        "description": "Separated by spaces.",
                        "schema": {"type": ["string", "null"], "section": "OAuth 2.0"},
                    },
                    "oauth2_audience": {
                        "label": "Audience",
                        "description": "Sent with the token request, where the server asks for it.",
                        "schema": {"type": ["string", "null"], "section": "OAuth 2.0"},
                    },
                    "oauth2_resource": {
                        "label": "Resource",
                        "description": "Sent with the token request (RFC 8707).",
                        "schema": {"type": ["string", "null"], "section": "OAuth 2.0"},
                    },
                    "oauth2_params": {
                        "label": "Further parameters",
                        "description": "Of the token request, a JSON object.",
                        "schema": {"type": ["object", "null"], "section": "OAuth 2.0"},
                    },
                    "oauth2_refresh_token": {
                        "label": "Refresh token",
                        "description": "For that grant.",
                        "schema": {"type": ["string", "null"], "format": "password", "section": "OAuth 2.0"},
                    },
                    "oauth1_client_key": {
                        "label": "Client key",
                        "description": "Of the application.",
                        "schema": {"type": ["string", "null"], "section": "OAuth 1.0"},
                    },
                    "oauth1_client_secret": {
                        "label": "Client secret",
                        "description": "Of the application.",
                        "schema": {"type": ["string", "null"], "format": "password", "section": "OAuth 1.0"},
                    },
                    "oauth1_user_token": {
                        "label": "User token",
                        "description": "Of the user, where there is one.",
                        "schema": {"type": ["string", "null"], "format": "password", "section": "OAuth 1.0"},
                    },
                    "oauth1_user_secret": {
                        "label": "User token secret",
                        "description": "Of the user, where there is one.",
                        "schema": {"type": ["string", "null"], "format": "password", "section": "OAuth 1.0"},
                    },
                    "oauth1_signature_method": {
                        "label": "Signature method",
                        "description": "RSA signs with the private key, HMAC with the secrets.",
                        "schema": {
                            "type": ["string", "null"],
                            "enum": [
                                "HMAC-SHA1",
                                "HMAC-SHA256",
                                "HMAC-SHA512",
                                "RSA-SHA1",
                                "RSA-SHA256",
                                "RSA-SHA512",
                                "PLAINTEXT",
                            ],
                            "default": "HMAC-SHA1",
                            "section": "OAuth 1.0",
                        },
                    },
                    "oauth1_rsa_private_key": {
                        "label": "RSA private key",
                        "description": "PEM, for the RSA methods.",
                        "schema": {"type": ["string", "null"], "format": "password", "section": "OAuth 1.0"},
                    },
                    "oauth1_realm": {
                        "label": "Realm",
                        "description": "Of the Authorization header.",
                        "schema": {"type": ["string", "null"], "section": "OAuth 1.0"},
                    },
                    "session_endpoint": {
                        "label": "Login endpoint",
                        "description": "URL, or an endpoint below the base URL.",
                        "schema": {"type": ["string", "null"], "section": "Session login"},
                    },
                    "session_method": {
                        "label": "Login method",
                        "description": "Of the login request.",
                        "schema": {
                            "type": ["string", "null"],
                            "enum": ["POST", "PUT", "GET"],
                            "default": "POST",
                            "section": "Session login",
                        },
                    },
                    "session_body": {
                        "label": "Login body",
                        "description": "A JSON object in which {login} and {password} "
                        "stand for those fields. Empty: username and "
                        "password.",
                        "schema": {"type": ["object", "null"], "section": "Session login"},
                    },
                    "session_body_format": {
                        "label": "Login body format",
                        "description": "How the login body is sent.",
                        "schema": {
                            "type": ["string", "null"],
                            "enum": ["json", "form"],
                            "values_display": {"json": "JSON", "form": "Form"},
                            "default": "json",
                            "section": "Session login",
                        },
                    },
                    "session_path": {
                        "label": "Path of the credential",
                        "description": "Where the answer has it: $.access_token, "
                        "headers.X-Session or cookies.sid.",
                        "schema": {"type": ["string", "null"], "section": "Session login"},
                    },
                    "session_header": {
                        "label": "Header",
                        "description": "That carries it; empty: Authorization.",
                        "schema": {"type": ["string", "null"], "section": "Session login"},
                    },
                    "session_template": {
                        "label": "Header text",
                        "description": "{token} stands for the credential; empty: Bearer {token}.",
                        "schema": {"type": ["string", "null"], "section": "Session login"},
                    },
                    "session_lifetime": {
                        "label": "Lifetime",
                        "description": "Seconds that it lives; empty: until it is refused.",
                        "schema": {"type": ["number", "null"], "section": "Session login"},
                    },
                    "session_lifetime_path": {
                        "label": "Path of the lifetime",
                        "description": "Where the answer says so, in seconds.",
                        "schema": {"type": ["string", "null"], "section": "Session login"},
                    },
                    "session_base_url_path": {
                        "label": "Path of the base URL",
                        "description": "Where the answer says where the API is; empty: it stays.",
                        "schema": {"type": ["string", "null"], "section": "Session login"},
                    },
                    "session_csrf_endpoint": {
                        "label": "Login form",
                        "description": "URL or endpoint that hands out a CSRF token for the "
                        "login itself; {csrf_token} in the login body stands "
                        "for it. Empty: the login needs none.",
                        "schema": {"type": ["string", "null"], "section": "Session login"},
                    },
                    "requests_auth": {
                        "label": "Class",
                        "description": "Dotted path of an authentication class of the "
                        "requests library; works on a worker alone "
                        "(deferrable=False).",
                        "schema": {"type": ["string", "null"], "section": "Class of the requests library"},
                    },
                    "requests_auth_params": {
                        "label": "Its parameters",
                        "description": "Besides login and password, a JSON object.",
                        "schema": {"type": ["object", "null"], "section": "Class of the requests library"},
                    },
                    "renew_codes": {
                        "label": "HTTP codes",
                        "description": "That mean: renew the credential, once; one on a line. Empty: 401.",
                        "schema": {
                            "type": ["array", "null"],
                            "items": {"type": "string"},
                            "section": "Renewal of credentials",
                        },
                    },
                    "login_page": {
                        "label": "Login page",
                        "description": "Path of a login page; a redirect to it, or the page "
                        "itself, means the same.",
                        "schema": {"type": ["string", "null"], "section": "Renewal of credentials"},
                    },
                    "headers": {
                        "label": "Headers",
                        "description": "Sent with each request to this API, a JSON object; not for secrets.",
                        "schema": {"type": ["object", "null"], "section": "Headers and test"},
                    },
                    "health_endpoint": {
                        "label": "Health endpoint",
                        "description": "What a test of the connection asks for: an "
                        "endpoint that needs the credentials and "
                        "changes nothing. Empty: the base URL. The "
                        "Test button of Airflow 3.3 needs a port "
                        "above, such as 443.",
                        "schema": {"type": ["string", "null"], "section": "Headers and test"},
                    },
                    "health_method": {
                        "label": "Health method",
                        "description": "How that is asked.",
                        "schema": {
                            "type": ["string", "null"],
                            "enum": ["GET", "HEAD"],
                            "default": "GET",
                            "section": "Headers and test",
                        },
                    },
                    "allow_http": {
                        "label": "Allow plain HTTP",
                        "description": "Credentials are then readable for all on the way; "
                        "needed for loopback, too.",
                        "schema": {
                            "type": ["boolean", "null"],
                            "default": False,
                            "section": "Where requests may go",
                        },
                    },
                    "allowed_origins": {
                        "label": "Allowed origins",
                        "description": "Further origins that get the credentials "
                        "too, such as https://files.example.com; one "
                        "on a line.",
                        "schema": {
                            "type": ["array", "null"],
                            "items": {"type": "string"},
                            "section": "Where requests may go",
                        },
                    },
                    "anonymous_origins": {
                        "label": "Anonymous origins",
                        "description": "Origins that may be read from without "
                        "credentials, such as "
                        "https://*.storage.example.com for "
                        "pre-signed URLs.",
                        "schema": {
                            "type": ["array", "null"],
                            "items": {"type": "string"},
                            "section": "Where requests may go",
                        },
                    },
                    "verify": {
                        "label": "Verify certificates",
                        "description": "Of the server.",
                        "schema": {"type": ["boolean", "null"], "default": True, "section": "TLS"},
                    },
                    "ca_bundle": {
                        "label": "CA bundle",
                        "description": "Path of a PEM file or directory on workers and "
                        "triggerers; empty: certifi's.",
                        "schema": {"type": ["string", "null"], "section": "TLS"},
                    },
                    "client_cert": {
                        "label": "Client certificate",
                        "description": "Path of a PEM file on workers and triggerers.",
                        "schema": {"type": ["string", "null"], "section": "TLS"},
                    },
                    "client_key": {
                        "label": "Client key",
                        "description": "Path of its key, where that is another file.",
                        "schema": {"type": ["string", "null"], "section": "TLS"},
                    },
                    "timeout": {
                        "label": "Timeout",
                        "description": "Seconds without a byte of the answer; empty: 30.",
                        "schema": {"type": ["number", "null"], "section": "Network"},
                    },
                    "connect_timeout": {
                        "label": "Connect timeout",
                        "description": "Seconds to connect; empty: as timeout, else 10.",
                        "schema": {"type": ["number", "null"], "section": "Network"},
                    },
                    "rate_limit": {
                        "label": "Rate limit",
                        "description": "Requests per second at most, of all tasks or "
                        "triggers of one process together.",
                        "schema": {"type": ["number", "null"], "section": "Network"},
                    },
                    "proxy": {
                        "label": "Proxy",
                        "description": "http://host:port, without credentials.",
                        "schema": {"type": ["string", "null"], "section": "Network"},
                    },
                    "proxy_login": {
                        "label": "Proxy login",
                        "description": "User name, where the proxy asks for one.",
                        "schema": {"type": ["string", "null"], "section": "Network"},
                    },
                    "proxy_password": {
                        "label": "Proxy password",
                        "description": "Password, where the proxy asks for one.",
                        "schema": {"type": ["string", "null"], "format": "password", "section": "Network"},
                    },
                    "csrf_header": {
                        "label": "Token header",
                        "description": "Empty: X-CSRF-Token.",
                        "schema": {"type": ["string", "null"], "section": "CSRF"},
                    },
                    "csrf_cookie": {
                        "label": "Token cookie",
                        "description": "Where the token is in a cookie, as with Django "
                        "(csrftoken); empty: in the header.",
                        "schema": {"type": ["string", "null"], "section": "CSRF"},
                    },
                },
            }
        ],
        "extra-links": ["airflow_provider_apitask.links.remote_job.RemoteJobLink"],
        "task-decorators": [
            {
                "name": "api_call",
                "class-name": "airflow_provider_apitask.decorators.api_call.api_call_task",
            }
        ],
        "config": {
            "apitask": {
                "description": "The operation log, and callbacks.",
                "options": {
                    "operation_log": {
                        "description": "Who is told of each operation, separated by commas: ``task_log``, "
                        "``sql``, ``otel``, ``metrics``, or\nthe dotted path of a function of an "
                        "``OperationRecord``, or of a sink with ``write(records)``. By\ndefault "
                        "``task_log``, with ``otel`` and ``metrics`` where Airflow's traces and metrics are "
                        "on.\n",
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "task_log,sql",
                        "default": None,
                    },
                    "operation_log_timeout": {
                        "description": "Seconds that a task waits for these at most.\n",
                        "version_added": "0.1.0",
                        "type": "float",
                        "example": None,
                        "default": "2.0",
                    },
                    "operation_log_conn_id": {
                        "description": "Connection of the database that ``sql`` writes to.\n",
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "warehouse",
                        "default": None,
                    },
                    "operation_log_spool": {
                        "description": "File that keeps records on their way to that database, on a disk of "
                        "the host; by default\n``apitask-operations.db`` in AIRFLOW_HOME.\n",
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "/var/lib/airflow/apitask-operations.db",
                        "default": None,
                    },
                    "callback_base_url": {
                        "description": "Public URL of Airflow's API server, at which services call back; "
                        "tasks with a callback need it.\n",
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "https://airflow.example.com",
                        "default": None,
                    },
                    "callback_secret": {
                        "description": "Key that signs the URLs of callbacks: a long random text, the same "
                        "on workers and API server. Several\nare separated by commas, the newest first; all "
                        "are accepted. By default [core] fernet_key.\n",
                        "version_added": "0.1.0",
                        "type": "string",
                        "sensitive": True,
                        "example": None,
                        "default": None,
                    },
                },
            }
        },
        "cli": ["airflow_provider_apitask.cli.definition.get_commands"],
    }
