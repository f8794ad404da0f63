with accounts as (
    select
        account_id,
        coalesce(plan, 'none') as plan
    from {{ ref('stg_segment__accounts') }}
),

plans as (
    select
        plan,
        count(*) as accounts
    from accounts
    group by plan
),

used as (
    select
        account.plan,
        activity.name as feature,
        count(distinct activity.account_id) as accounts_using,
        count(distinct activity.external_id) as people,
        sum(activity.events) as events
    from {{ ref('activity_daily') }} as activity
    inner join accounts as account on account.account_id = activity.account_id
    where
        activity.type = 'Action'
        and not activity.is_server
        and activity.day > {{ plus_days(as_of(), -1 * var('adoption_days') | int) }}
        and activity.day <= {{ as_of() }}
    group by account.plan, activity.name
),

features as (
    select distinct feature
    from used
)

select
    plans.plan,
    features.feature,
    plans.accounts,
    coalesce(used.accounts_using, 0) as accounts_using,
    coalesce(used.people, 0) as people,
    coalesce(used.events, 0) as events,
    coalesce(used.accounts_using, 0) / plans.accounts as share
from plans
cross join features
left join used on used.plan = plans.plan and used.feature = features.feature
