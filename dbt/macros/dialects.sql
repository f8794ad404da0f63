{# What DuckDB and BigQuery write differently. Times are TIMESTAMP (in DuckDB TIMESTAMPTZ), days are DATE, in UTC. #}

{% macro utc_date(time) %}{{ return(adapter.dispatch('utc_date', 'segment_bigquery')(time)) }}{% endmacro %}
{% macro duckdb__utc_date(time) %}cast(timezone('UTC', {{ time }}) as date){% endmacro %}
{% macro bigquery__utc_date(time) %}date({{ time }}, 'UTC'){% endmacro %}

{# The first moment of a day. #}
{% macro midnight(day) %}{{ return(adapter.dispatch('midnight', 'segment_bigquery')(day)) }}{% endmacro %}
{% macro duckdb__midnight(day) %}timezone('UTC', cast({{ day }} as timestamp)){% endmacro %}
{% macro bigquery__midnight(day) %}timestamp({{ day }}, 'UTC'){% endmacro %}

{% macro today() %}{{ return(adapter.dispatch('today', 'segment_bigquery')()) }}{% endmacro %}
{% macro duckdb__today() %}cast(timezone('UTC', now()) as date){% endmacro %}
{% macro bigquery__today() %}current_date('UTC'){% endmacro %}

{# The Monday of a day. #}
{% macro week_of(day) %}{{ return(adapter.dispatch('week_of', 'segment_bigquery')(day)) }}{% endmacro %}
{% macro duckdb__week_of(day) %}cast(date_trunc('week', {{ day }}) as date){% endmacro %}
{% macro bigquery__week_of(day) %}date_trunc({{ day }}, isoweek){% endmacro %}

{% macro plus_days(day, days) %}{{ return(adapter.dispatch('plus_days', 'segment_bigquery')(day, days)) }}{% endmacro %}
{% macro duckdb__plus_days(day, days) %}({{ day }} + cast({{ days }} as integer)){% endmacro %}
{% macro bigquery__plus_days(day, days) %}date_add({{ day }}, interval {{ days }} day){% endmacro %}

{% macro days_between(first, last) %}{{ return(adapter.dispatch('days_between', 'segment_bigquery')(first, last)) }}{% endmacro %}
{% macro duckdb__days_between(first, last) %}date_diff('day', {{ first }}, {{ last }}){% endmacro %}
{% macro bigquery__days_between(first, last) %}date_diff({{ last }}, {{ first }}, day){% endmacro %}

{% macro plus_minutes(time, minutes) %}{{ return(adapter.dispatch('plus_minutes', 'segment_bigquery')(time, minutes)) }}{% endmacro %}
{% macro duckdb__plus_minutes(time, minutes) %}({{ time }} + to_minutes({{ minutes }})){% endmacro %}
{% macro bigquery__plus_minutes(time, minutes) %}timestamp_add({{ time }}, interval {{ minutes }} minute){% endmacro %}

{# Whole seconds. #}
{% macro seconds_between(first, last) %}{{ return(adapter.dispatch('seconds_between', 'segment_bigquery')(first, last)) }}{% endmacro %}
{% macro duckdb__seconds_between(first, last) %}date_sub('second', {{ first }}, {{ last }}){% endmacro %}
{% macro bigquery__seconds_between(first, last) %}timestamp_diff({{ last }}, {{ first }}, second){% endmacro %}

{# A scalar of a JSON document as text. #}
{% macro json_text(document, path) %}{{ return(adapter.dispatch('json_text', 'segment_bigquery')(document, path)) }}{% endmacro %}
{% macro duckdb__json_text(document, path) %}json_extract_string({{ document }}, '$.{{ path }}'){% endmacro %}
{% macro bigquery__json_text(document, path) %}json_value({{ document }}, '$.{{ path }}'){% endmacro %}

{# The first group of a regular expression, NULL where the text does not match. #}
{% macro extracted(text, pattern) %}{{ return(adapter.dispatch('extracted', 'segment_bigquery')(text, pattern)) }}{% endmacro %}
{% macro duckdb__extracted(text, pattern) %}nullif(regexp_extract({{ text }}, '{{ pattern }}', 1), ''){% endmacro %}
{% macro bigquery__extracted(text, pattern) %}nullif(regexp_extract({{ text }}, r'{{ pattern }}'), ''){% endmacro %}

{# Joins each element of an array to its row, as the column `name`. #}
{% macro each_of(array, name) %}{{ return(adapter.dispatch('each_of', 'segment_bigquery')(array, name)) }}{% endmacro %}
{% macro duckdb__each_of(array, name) %}cross join unnest({{ array }}) as element({{ name }}){% endmacro %}
{% macro bigquery__each_of(array, name) %}cross join unnest({{ array }}) as {{ name }}{% endmacro %}

{# Rows with the column `day`, from the first day to the last. #}
{% macro days(first, last) %}{{ return(adapter.dispatch('days', 'segment_bigquery')(first, last)) }}{% endmacro %}
{% macro duckdb__days(first, last) %}(select cast(day as date) as day from generate_series({{ first }}, {{ last }}, interval 1 day) as series(day)){% endmacro %}
{% macro bigquery__days(first, last) %}unnest(generate_date_array({{ first }}, {{ last }})){% endmacro %}
