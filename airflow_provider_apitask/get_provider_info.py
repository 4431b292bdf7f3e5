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
                "python-modules": ["airflow_provider_apitask.triggers.api_status"],
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
                    "relabeling": {"host": "Base URL", "password": "Password, token or API key"},
                    "placeholders": {"host": "https://api.example.com/v1"},
                },
                "conn-fields": {
                    "auth_type": {
                        "label": "Authentication",
                        "description": (
                            "basic sends login and password; "
                            "bearer and api_key send the password field as the token or key."
                        ),
                        "schema": {
                            "type": ["string", "null"],
                            "enum": ["none", "basic", "bearer", "api_key"],
                            "default": "none",
                        },
                    },
                    "api_key_name": {
                        "label": "API key name",
                        "description": "Name of the header or query parameter that carries the key.",
                        "schema": {"type": ["string", "null"]},
                    },
                    "api_key_in": {
                        "label": "API key sent in",
                        "schema": {
                            "type": ["string", "null"],
                            "enum": ["header", "query"],
                            "default": "header",
                        },
                    },
                    "headers": {
                        "label": "Headers",
                        "description": "Headers for every request, a JSON object.",
                        "schema": {"type": ["object", "null"]},
                    },
                    "allow_http": {
                        "label": "Allow plain HTTP",
                        "description": "Permit credentials to be sent without TLS.",
                        "schema": {"type": ["boolean", "null"], "default": False},
                    },
                    "timeout": {
                        "label": "Timeout",
                        "description": "Seconds that one request may take.",
                        "schema": {"type": ["number", "null"], "minimum": 0},
                    },
                },
            }
        ],
    }
