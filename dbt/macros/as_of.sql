{# The day on which "now" is: the variable `as_of`, else the newest day that has events. #}
{% macro as_of() -%}
  {%- if var('as_of') -%}
    date '{{ var('as_of') }}'
  {%- else -%}
    (select least(max(day), {{ segment_bigquery.today() }}) from {{ ref('activity_daily') }})
  {%- endif -%}
{%- endmacro %}

{# A text as SQL's constant. #}
{% macro text(value) -%}
  '{{ value | replace("\\", "\\\\") | replace("'", "\\'") if target.type == 'bigquery' else value | replace("'", "''") }}'
{%- endmacro %}
