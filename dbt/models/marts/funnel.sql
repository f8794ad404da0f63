{%- set steps = var('funnel_steps') -%}
with reached as (
    {%- for step in steps %}
    {{ 'union all' if not loop.first }}
    select
        {{ loop.index }} as step,
        {{ text(step['type']) }} as type,
        {{ text(step['name']) }} as name,
        count(step_{{ loop.index }}_at) as people
    from {{ ref('funnel_people') }}
    {%- endfor %}
)

select
    step,
    type,
    name,
    people,
    people / nullif(first_value(people) over (order by step), 0) as share_of_first,
    people / nullif(lag(people) over (order by step), 0) as share_of_previous
from reached
