{%- set days = var('risk_days') | int -%}
with now as (
    select {{ as_of() }} as day
),

compared as (
    select
        activity.account_id,
        count(distinct case when activity.day > {{ plus_days('now.day', -1 * days) }} then activity.external_id end) as people,
        count(distinct case when activity.day <= {{ plus_days('now.day', -1 * days) }} then activity.external_id end) as people_before,
        sum(case when activity.day > {{ plus_days('now.day', -1 * days) }} then activity.events else 0 end) as events,
        sum(case when activity.day <= {{ plus_days('now.day', -1 * days) }} then activity.events else 0 end) as events_before,
        max(activity.day) as last_active_day,
        max(now.day) as as_of
    from {{ ref('activity_daily') }} as activity
    cross join now
    where
        not activity.is_server
        and activity.account_id is not null
        and activity.day > {{ plus_days('now.day', -2 * days) }}
        and activity.day <= now.day
    group by activity.account_id
)

select
    compared.account_id,
    account.name as account_name,
    account.plan,
    case
        when compared.events = 0 then 'silent'
        when compared.people <= {{ var('risk_share') }} * compared.people_before then 'fewer people'
        else 'fewer events'
    end as reason,
    compared.as_of,
    compared.last_active_day,
    {{ days_between('compared.last_active_day', 'compared.as_of') }} as days_silent,
    compared.people,
    compared.people_before,
    compared.events,
    compared.events_before,
    compared.events / compared.events_before as share
from compared
left join {{ ref('stg_segment__accounts') }} as account on account.account_id = compared.account_id
where
    compared.events_before >= {{ var('risk_minimum_events') }}
    and (
        compared.events <= {{ var('risk_share') }} * compared.events_before
        or compared.people <= {{ var('risk_share') }} * compared.people_before
    )
