{# The package gives BigQuery's partitions to every adapter; that for DuckDB stops at them. #}
{% macro duckdb__get_partitioned_by(relation, warn=true) %}{{ return(none) }}{% endmacro %}
