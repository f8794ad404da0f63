{{ config(severity='warn') }}
-- Events that name a company in context.groupId which nothing else names: no group call, no identify.
select
    activity.group_id,
    activity.connection,
    sum(activity.events) as events,
    min(activity.first_at) as first_at,
    max(activity.last_at) as last_at
from {{ ref('int_activity') }} as activity
left join {{ ref('stg_segment__companies') }} as company on company.account_id = activity.group_id
where activity.group_id is not null and company.account_id is null
group by activity.group_id, activity.connection
