{%- set steps = var('funnel_steps') -%}
{%- for step in steps -%}
    {%- if step in steps[:loop.index0] -%}
        {{ exceptions.raise_compiler_error("funnel_steps: " ~ step['type'] ~ " " ~ step['name'] ~ " is there twice; name each step once") }}
    {%- endif -%}
{%- endfor -%}
with steps as (
    select
        coalesce(identity.external_id, event.sent_id) as external_id,
        event.timestamp,
        case
            {%- for step in steps %}
            when event.type = {{ text(step['type']) }} and event.name = {{ text(step['name']) }} then {{ loop.index }}
            {%- endfor %}
        end as step
    from {{ ref('stg_segment__events') }} as event
    left join {{ ref('stg_segment__identities') }} as identity on identity.id = event.sent_id
    where
        {%- for step in steps %}
        {{ '(' if loop.first else 'or ' }}(event.type = {{ text(step['type']) }} and event.name = {{ text(step['name']) }}){{ ')' if loop.last }}
        {%- endfor %}
),

-- Each time that a person took the first step is a way; on each, the earliest that every other step was taken after the
-- one before.
ways_1 as (
    select distinct
        external_id,
        timestamp as step_1_at
    from steps
    where step = 1
)
{%- for step in steps %}
{%- if not loop.first %}
{%- set n = loop.index %},

ways_{{ n }} as (
    select
        way.external_id,
        {%- for k in range(1, n) %}
        way.step_{{ k }}_at,
        {%- endfor %}
        min(step.timestamp) as step_{{ n }}_at
    from ways_{{ n - 1 }} as way
    left join steps as step
        on step.external_id = way.external_id
        and step.step = {{ n }}
        and step.timestamp >= way.step_{{ n - 1 }}_at
        and step.timestamp < {{ plus_minutes('way.step_1_at', var('funnel_days') * 1440) }}
    group by {% for k in range(1, n + 1) %}{{ k }}{{ ', ' if not loop.last }}{% endfor %}
)
{%- endif %}
{%- endfor %},

counted as (
    select
        *,
        {% for step in steps %}case when step_{{ loop.index }}_at is null then 0 else 1 end{{ ' + ' if not loop.last }}{% endfor %} as steps
    from ways_{{ steps | length }}
)

select
    external_id,
    steps,
    {%- for step in steps %}
    step_{{ loop.index }}_at{{ ',' if not loop.last }}
    {%- endfor %}
from counted
qualify row_number() over (partition by external_id order by steps desc, step_1_at) = 1
