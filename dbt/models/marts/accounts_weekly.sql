with weekly as (
    select
        account_id,
        {{ week_of('day') }} as week,
        count(distinct case when not is_server then external_id end) as people,
        count(distinct case when not is_server then day end) as active_days,
        sum(case when not is_server then events else 0 end) as events,
        sum(case when not is_server and type = 'Page' then events else 0 end) as pages,
        sum(case when not is_server and type = 'Screen' then events else 0 end) as screens,
        sum(case when not is_server and type = 'Action' then events else 0 end) as actions,
        sum(case when is_server then events else 0 end) as server_events
    from {{ ref('activity_daily') }}
    where account_id is not null
    group by 1, 2
),

plans as (
    select
        account_id,
        value_text as plan,
        valid_from,
        valid_to
    from {{ source('segment', 'account_trait_changes') }}
    where trait = 'plan'
)

select
    weekly.account_id,
    weekly.week,
    account.name as account_name,
    plan_then.plan as plan_then,
    account.plan as plan_now,
    weekly.people,
    weekly.active_days,
    weekly.events,
    weekly.pages,
    weekly.screens,
    weekly.actions,
    weekly.server_events
from weekly
left join {{ ref('stg_segment__accounts') }} as account on account.account_id = weekly.account_id
left join plans as plan_then
    on plan_then.account_id = weekly.account_id
    and plan_then.valid_from < {{ midnight(plus_days('weekly.week', 7)) }}
    and (plan_then.valid_to >= {{ midnight(plus_days('weekly.week', 7)) }} or plan_then.valid_to is null)
