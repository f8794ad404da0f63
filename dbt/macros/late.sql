{# In an incremental run, the days of received_at that are made anew: those within `late_days` of the newest that the model
   has, or of today where the newest lies ahead; and every older one on which it has not as many events as the source,
   since a file of last year may be loaded today. Each is made anew as a whole. `counted`: which events the model has. #}
{% macro received_anew(counted='true') %}
  {%- if not is_incremental() or not execute -%}
    {{ counted }}
  {%- else -%}
    {{ counted }} and (
        received_at >= {{ segment_bigquery.midnight(segment_bigquery.plus_days(segment_bigquery.newest_received_day(), -1 * var('late_days') | int)) }}
        {%- set days = segment_bigquery.days_that_differ(counted) %}
        {%- if days | length > 100 %}
        or received_at >= {{ segment_bigquery.midnight("date '" ~ days[0] ~ "'") }}
        {%- else %}
        {%- for day in days %}
        or received_at >= {{ segment_bigquery.midnight("date '" ~ day ~ "'") }}
            and received_at < {{ segment_bigquery.midnight(segment_bigquery.plus_days("date '" ~ day ~ "'", 1)) }}
        {%- endfor %}
        {%- endif %}
    )
  {%- endif -%}
{% endmacro %}

{# A statement that removes the days of which the source has no event any more; nothing where there are none. #}
{% macro remove_days_without_events(counted='true') %}
  {%- if is_incremental() and execute -%}
    {%- set days = segment_bigquery.days_that_differ(counted, gone=true) -%}
    {%- if days -%}
      delete from {{ this }} where received_day in ({% for day in days %}date '{{ day }}'{{ ', ' if not loop.last }}{% endfor %})
    {%- endif -%}
  {%- endif -%}
{% endmacro %}

{# The days of received_at, in order, on which the model has not as many events as the source; `gone`: those of which the
   source has none. It reads one column of the events. #}
{% macro days_that_differ(counted, gone=false) %}
  {%- set query -%}
    select cast(received_day as {{ dbt.type_string() }}) as received_day
    from ({{ segment_bigquery.different_days(this, counted) }}) as different
    where {{ 'expected = 0' if gone else 'expected > 0' }}
    order by received_day
  {%- endset -%}
  {{ return(run_query(query).columns[0].values()) }}
{% endmacro %}

{# `bounded`: of the days that are compared only. #}
{% macro different_days(model, counted, bounded=true) %}
    select
        coalesce(expected.received_day, found.received_day) as received_day,
        coalesce(expected.events, 0) as expected,
        coalesce(found.events, 0) as found
    from (
        select
            received_day,
            count(*) as events
        from {{ ref('stg_segment__events') }}
        where {{ counted }} and {{ segment_bigquery.compared('received_day') if bounded else 'true' }}
        group by received_day
    ) as expected
    full outer join (
        select
            received_day,
            sum(events) as events
        from {{ model }}
        where {{ segment_bigquery.compared('received_day') if bounded else 'true' }}
        group by received_day
    ) as found on found.received_day = expected.received_day
    where coalesce(expected.events, 0) != coalesce(found.events, 0)
{% endmacro %}

{# The days that are compared: all, or the last `compared_days`. #}
{% macro compared(day) -%}
  {%- if var('compared_days') -%}
    {{ day }} > {{ segment_bigquery.plus_days(segment_bigquery.today(), -1 * var('compared_days') | int) }}
  {%- else -%}
    true
  {%- endif -%}
{%- endmacro %}

{% macro newest_received_day() %}{{ return(adapter.dispatch('newest_received_day', 'segment_bigquery')()) }}{% endmacro %}
{% macro duckdb__newest_received_day() -%}
  coalesce((select least(max(received_day), {{ segment_bigquery.today() }}) from {{ this }}), date '1970-01-01')
{%- endmacro %}
{# dbt sets this variable before the query, so that BigQuery reads no partition before it. #}
{% macro bigquery__newest_received_day() -%}
  coalesce(least(_dbt_max_partition, {{ segment_bigquery.today() }}), date '1970-01-01')
{%- endmacro %}
