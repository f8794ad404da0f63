{# BigQuery's partitions; DuckDB has none. #}
{% macro partitions(field, data_type, granularity) %}
  {{ return({'field': field, 'data_type': data_type, 'granularity': granularity} if target.type == 'bigquery' else none) }}
{% endmacro %}

{# What an incremental run replaces: in BigQuery the partitions, elsewhere the rows of the same days. #}
{% macro replaced_by(column) %}{{ return(none if target.type == 'bigquery' else column) }}{% endmacro %}
