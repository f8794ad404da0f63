{# The days of received_at on which the model has not as many events as the source: more came, later than `late_days`, or
   some were removed. A full refresh (--full-refresh), or once a greater late_days, makes them right. #}
{% test holds_the_days_of_events(model, counted) %}
with expected as (
    select
        received_day,
        count(*) as events
    from {{ ref('stg_segment__events') }}
    where {{ counted }}
    group by received_day
),

found as (
    select
        received_day,
        sum(events) as events
    from {{ model }}
    group by received_day
)

select
    coalesce(expected.received_day, found.received_day) as received_day,
    coalesce(expected.events, 0) as expected,
    coalesce(found.events, 0) as found
from expected
full outer join found on found.received_day = expected.received_day
where coalesce(expected.events, 0) != coalesce(found.events, 0)
{% endtest %}
