{# In an incremental run the days of received_at that are made anew: those within `late_days` of the newest that the
   model has, or of today where the newest lies ahead. Each is made anew as a whole, so that what came late is in it, and
   what was removed is not. #}
{% macro received_in_window() %}
  {%- if is_incremental() -%}
    received_at >= {{ segment_bigquery.midnight(segment_bigquery.plus_days(segment_bigquery.newest_received_day(), -1 * var('late_days') | int)) }}
  {%- else -%}
    true
  {%- endif -%}
{% endmacro %}

{% macro newest_received_day() %}{{ return(adapter.dispatch('newest_received_day', 'segment_bigquery')()) }}{% endmacro %}
{% macro duckdb__newest_received_day() -%}
  coalesce((select least(max(received_day), {{ segment_bigquery.today() }}) from {{ this }}), date '1970-01-01')
{%- endmacro %}
{# dbt sets this variable before the query, so that BigQuery reads no partition before it. #}
{% macro bigquery__newest_received_day() -%}
  coalesce(least(_dbt_max_partition, {{ segment_bigquery.today() }}), date '1970-01-01')
{%- endmacro %}
